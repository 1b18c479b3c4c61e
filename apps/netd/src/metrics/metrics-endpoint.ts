import { CommandError } from '@virtio-ts/command-line'
import { isIP } from 'node:net'

/** Where metrics are served: a Unix socket, or TCP. */
export type MetricsEndpoint =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }

/** Reads `/path`, `./path`, `unix:PATH`, `HOST:PORT` or `[IPV6]:PORT`. @throws CommandError `usage.invalid-value` */
export function parseMetricsEndpoint(text: string): MetricsEndpoint {
  const path = text.startsWith('unix:') ? text.slice(5) : /^\.{0,2}\//.test(text) ? text : undefined
  if (path !== undefined && path !== '') return { kind: 'unix', path }
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})$/.exec(text)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3])
  if (host === undefined || port > 65535 || (match?.[1] !== undefined && isIP(host) !== 6)) {
    throw new CommandError('usage.invalid-value', `--metrics ${JSON.stringify(text.slice(0, 60))} cannot be used`, {
      why: 'it is the path of a Unix socket, or HOST:PORT',
      fix: '--metrics 127.0.0.1:9090, or --metrics /run/netd/vt0.metrics',
    })
  }
  return { kind: 'tcp', host, port }
}

export function formatMetricsEndpoint(endpoint: MetricsEndpoint): string {
  if (endpoint.kind === 'unix') return endpoint.path
  return endpoint.host.includes(':') ? `[${endpoint.host}]:${endpoint.port}` : `${endpoint.host}:${endpoint.port}`
}
