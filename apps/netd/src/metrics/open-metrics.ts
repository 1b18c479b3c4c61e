import { isLevel, type SessionDescription } from '../control/observable.ts'

export const openMetricsContentType = 'application/openmetrics-text; version=1.0.0; charset=utf-8'

/** A label's value: what the text format gives a meaning to is escaped. */
function labelValue(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}

function labels(values: Readonly<Record<string, string>>): string {
  return `{${Object.entries(values)
    .map(([name, value]) => `${name}="${labelValue(value)}"`)
    .join(',')}}`
}

/**
 * What a session counts, in the OpenMetrics text format. Every counter of `stats()` becomes `netd_NAME_total`; what is a
 * state and not a count is taken from `describe()`.
 */
export function openMetrics(
  name: string,
  version: string,
  description: SessionDescription,
  counters: Readonly<Record<string, number>>,
): string {
  const { state, net, device, locator, peer } = description
  const session = labels({ name })
  const lines: string[] = []
  const family = (metric: string, type: string, help: string, sample: string) => {
    lines.push(`# TYPE ${metric} ${type}`, `# HELP ${metric} ${help}`, sample)
  }
  family(
    'netd_build',
    'info',
    'What runs and what it drives.',
    `netd_build_info${labels({ name, version, node: process.versions.node, locator, transport: device.transport })} 1`,
  )
  family(
    'netd_running',
    'gauge',
    '1 while the device works, 0 while it is brought up again or stopping.',
    `netd_running${session} ${state === 'running' && (peer?.state ?? state) === 'running' ? 1 : 0}`,
  )
  family(
    'netd_link_up',
    'gauge',
    '1 while the device reports its link up.',
    `netd_link_up${session} ${net.linkUp ? 1 : 0}`,
  )
  if (peer) {
    family(
      'netd_peer_link_up',
      'gauge',
      '1 while the second device of a bridge reports its link up.',
      `netd_peer_link_up${session} ${peer.net.linkUp ? 1 : 0}`,
    )
  }
  for (const [key, value] of Object.entries(counters)) {
    const metric = `netd_${key.replaceAll(/[^A-Za-z0-9_]/g, '_')}`
    const help = `${key.replaceAll(/[\\\n]/g, ' ')} of netd stats.`
    if (isLevel(key)) family(metric, 'gauge', help, `${metric}${session} ${value}`)
    else family(metric, 'counter', help, `${metric}_total${session} ${value}`)
  }
  return `${lines.join('\n')}\n# EOF\n`
}
