import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { request } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { exampleDescription, FakeSession } from '../control/fake-session.fixture.ts'
import { formatMetricsEndpoint, parseMetricsEndpoint } from './metrics-endpoint.ts'
import { MetricsServer } from './metrics-server.ts'
import { openMetrics } from './open-metrics.ts'

let directory = ''
let session: FakeSession
let server: MetricsServer | undefined
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'netd-metrics-'))
  session = new FakeSession()
})
afterEach(async () => {
  await server?.close()
  server = undefined
  rmSync(directory, { recursive: true })
})

async function start(address: string): Promise<MetricsServer> {
  server = await MetricsServer.start({ endpoint: parseMetricsEndpoint(address), name: 'vt0', observable: session })
  return server
}

function url({ endpoint }: MetricsServer, path: string): string {
  return `http://${formatMetricsEndpoint(endpoint)}${path}`
}

describe('openMetrics', () => {
  it('has a counter for each of stats, and the state as gauges', () => {
    session.counters['tx_in_flight'] = 3
    const lines = openMetrics('vt0', '1.2.3', session.describe(), session.stats()).split('\n')
    expect(lines).toContain('# TYPE netd_tx_in_flight gauge')
    expect(lines).toContain('netd_tx_in_flight{name="vt0"} 3')
    expect(lines).toContain('# TYPE netd_rx_packets counter')
    expect(lines).toContain('netd_rx_packets_total{name="vt0"} 10')
    expect(lines).toContain('netd_link_up{name="vt0"} 1')
    expect(lines).toContain('netd_running{name="vt0"} 1')
    expect(lines.find((line) => line.startsWith('netd_build_info{'))).toMatch(
      /^netd_build_info\{name="vt0",version="1\.2\.3",node="[\d.]+",locator="qemu:virtio-net-pci",transport="pci-modern"\} 1$/,
    )
    expect(lines.slice(-2)).toEqual(['# EOF', ''])
  })

  it('has no line that a scraper cannot read, whatever names there are', () => {
    session.counters = { 'odd name\n"\\': 1 }
    session.description = {
      ...exampleDescription,
      locator: 'qemu:x,y="\\\n"',
      state: 'recovering',
      net: { ...exampleDescription.net, linkUp: false },
    }
    const text = openMetrics('vt0', '1', session.describe(), session.stats())
    for (const line of text.trimEnd().split('\n'))
      expect(line).toMatch(/^(# (TYPE|HELP|EOF).*|[a-z_]+\{([a-z]+="([^"\\\n]|\\[\\"n])*",?)+\} \d+)$/)
    expect(text).toContain('locator="qemu:x,y=\\"\\\\\\n\\""')
    expect(text).toContain('netd_running{name="vt0"} 0')
    expect(text).toContain('netd_link_up{name="vt0"} 0')
  })
})

describe('MetricsServer', () => {
  it('serves over TCP', async () => {
    const running = await start('127.0.0.1:0')
    const response = await fetch(url(running, '/metrics'))
    expect(response.headers.get('content-type')).toMatch(/^application\/openmetrics-text; version=1\.0\.0/)
    expect(await response.text()).toContain('netd_rx_packets_total{name="vt0"} 10')
    expect(await (await fetch(url(running, '/?x'))).text()).toContain('netd_rx_packets_total{name="vt0"} 20')
    expect((await fetch(url(running, '/secret'))).status).toBe(404)
    expect((await fetch(url(running, '/metrics'), { method: 'POST', body: 'x' })).status).toBe(405)
  })

  it('serves on a Unix socket for its user alone, and takes it away', async () => {
    const path = join(directory, 'm.sock')
    const running = await start(path)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    const body = await new Promise<string>((resolve, reject) => {
      request({ socketPath: path, path: '/metrics' }, (response) => resolve(text(response)))
        .on('error', reject)
        .end()
    })
    expect(body).toContain('# EOF')
    await Promise.all([running.close(), running.close()])
    expect(readdirSync(directory)).toEqual([])
  })

  it('says what is in its way', async () => {
    const running = await start('127.0.0.1:0')
    const failure = MetricsServer.start({ endpoint: running.endpoint, name: 'vt1', observable: session })
    await expect(failure).rejects.toMatchObject({
      code: 'metrics.listen',
      message: `cannot serve metrics on ${formatMetricsEndpoint(running.endpoint)}`,
    })
  })

  it('does not wait for clients when it closes', async () => {
    const running = await start('127.0.0.1:0')
    if (running.endpoint.kind !== 'tcp') throw new Error('not TCP')
    const silent = connect(running.endpoint.port, running.endpoint.host)
    silent.on('error', () => {})
    await new Promise((resolve) => silent.on('connect', resolve))
    await running.close()
    silent.destroy()
  })
})

describe('parseMetricsEndpoint', () => {
  it.each(['127.0.0.1:9090', '[::1]:9090', 'localhost:0', '/run/x'])(
    'is undone by formatMetricsEndpoint: %s',
    (address) => {
      expect(formatMetricsEndpoint(parseMetricsEndpoint(address))).toBe(address)
    },
  )
})
