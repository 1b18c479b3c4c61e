import { claimSocket, CommandError } from '@virtio-ts/command-line'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { netdVersion } from '../version.ts'
import type { Observable } from '../control/observable.ts'
import { formatMetricsEndpoint, type MetricsEndpoint } from './metrics-endpoint.ts'
import { openMetrics, openMetricsContentType } from './open-metrics.ts'

export interface MetricsServerOptions {
  readonly endpoint: MetricsEndpoint
  /** The session's, as label `name`. */
  readonly name: string
  readonly observable: Observable
}

/** Milliseconds for a request's headers to arrive, and for an idle connection to be kept. */
const requestLimit = 5000
const idleLimit = 5000

function answer(name: string, observable: Observable): Server {
  const version = netdVersion()
  const server = createServer(
    { headersTimeout: requestLimit, requestTimeout: requestLimit, keepAliveTimeout: idleLimit, maxHeaderSize: 8192 },
    (request, response) => {
      // Bodies are of no interest here; unread they would keep the connection.
      request.resume()
      const path = (request.url ?? '').split('?')[0]
      if (request.method !== 'GET' && request.method !== 'HEAD') response.writeHead(405, { allow: 'GET, HEAD' }).end()
      else if (path !== '/metrics' && path !== '/') response.writeHead(404).end('metrics are at /metrics\n')
      else void scrape(name, version, observable, response)
    },
  )
  server.maxConnections = 32
  return server
}

async function scrape(name: string, version: string, observable: Observable, response: ServerResponse): Promise<void> {
  try {
    const text = openMetrics(name, version, await observable.describe(), await observable.stats())
    response.writeHead(200, { 'content-type': openMetricsContentType }).end(text)
  } catch (error) {
    response.writeHead(503).end(`${error instanceof Error ? error.message : String(error)}\n`)
  }
}

async function listen(server: Server, endpoint: MetricsEndpoint): Promise<() => void> {
  if (endpoint.kind === 'unix') return claimSocket(server, endpoint.path)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(endpoint.port, endpoint.host, () => {
      server.off('error', reject)
      resolve()
    })
  })
  return () => {}
}

/** Serves a session's metrics over HTTP, on a Unix socket of mode 0600 or over TCP. */
export class MetricsServer {
  /** Where it listens; where port 0 was asked for, the port it got. */
  readonly endpoint: MetricsEndpoint
  readonly #server: Server
  readonly #release: () => void
  #closing: Promise<void> | undefined

  private constructor(endpoint: MetricsEndpoint, server: Server, release: () => void) {
    this.endpoint = endpoint
    this.#server = server
    this.#release = release
  }

  /** @throws CommandError `metrics.listen` */
  static async start({ endpoint, name, observable }: MetricsServerOptions): Promise<MetricsServer> {
    const server = answer(name, observable)
    let release: () => void
    try {
      release = await listen(server, endpoint)
    } catch (cause) {
      throw new CommandError('metrics.listen', `cannot serve metrics on ${formatMetricsEndpoint(endpoint)}`, {
        cause,
        fix: 'another address: --metrics HOST:PORT, or the path of a socket',
      })
    }
    // A connection that fails while being accepted (EMFILE) is the client's loss, not the session's.
    server.on('error', () => {})
    if (endpoint.kind === 'unix') return new MetricsServer(endpoint, server, release)
    const { port } = server.address() as AddressInfo
    return new MetricsServer({ ...endpoint, port }, server, release)
  }

  /** Idempotent. */
  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      this.#release()
      this.#server.close(() => resolve())
      this.#server.closeAllConnections()
    })
    return this.#closing
  }
}
