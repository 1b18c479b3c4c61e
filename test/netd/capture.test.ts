import { execFileSync, spawn } from 'node:child_process'
import { createWriteStream, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { PcapngCapture } from '../../apps/netd/src/capture/pcapng-capture.ts'
import { ControlServer } from '../../apps/netd/src/control/control-server.ts'
import { arpFrame, FakeSession } from '../../apps/netd/src/control/fake-session.fixture.ts'
import { requirement } from '../requirements.ts'

const program = fileURLToPath(new URL('../../apps/netd/bin/netd.js', import.meta.url))
const gsoHeader = Uint8Array.of(1, 1, 54, 0, 180, 5, 34, 0, 16, 0, 0, 0)

let directory = ''
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'netd-capture-'))
})
afterEach(() => {
  rmSync(directory, { recursive: true })
})

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5))
}

/** Fields of every packet as tshark reads them. */
function fields(file: string, ...names: string[]): string[][] {
  const output = execFileSync('tshark', ['-n', '-r', file, '-T', 'fields', ...names.flatMap((name) => ['-e', name])], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  return output
    .trimEnd()
    .split('\n')
    .map((line) => line.split('\t'))
}

async function captureFile(packets: (capture: PcapngCapture) => void, snaplen?: number): Promise<string> {
  const file = join(directory, 'x.pcapng')
  const capture = new PcapngCapture(createWriteStream(file), {
    interfaceName: 'vt0',
    description: 'model:net',
    mac: Uint8Array.of(0x52, 0x54, 0, 1, 2, 3),
    ...(snaplen === undefined ? {} : { snaplen }),
  })
  packets(capture)
  await capture.close()
  return file
}

requirement('tshark')('a capture file, as Wireshark reads it', () => {
  it('has interface, direction, queue, header and time of each packet', async () => {
    const before = Date.now() / 1000
    const file = await captureFile((capture) => {
      capture.capture('rx', 0, new Uint8Array(12), arpFrame.subarray(0, 20), arpFrame.subarray(20))
      capture.capture('tx', 3, gsoHeader, arpFrame)
    })
    const about = [
      'interface_name',
      'interface_description',
      'packet_flags_direction',
      'interface_queue',
      'comment',
      'len',
      'protocols',
    ]
    expect(fields(file, ...about.map((name) => `frame.${name}`))).toEqual([
      [
        'vt0',
        'model:net',
        '0x00000001',
        '0',
        expect.stringContaining('flags=0 gso_type=NONE'),
        '42',
        'eth:ethertype:arp',
      ],
      [
        'vt0',
        'model:net',
        '0x00000002',
        '3',
        expect.stringContaining('flags=NEEDS_CSUM gso_type=TCPV4 hdr_len=54 gso_size=1460'),
        '42',
        'eth:ethertype:arp',
      ],
    ])
    const [first, second] = fields(file, 'frame.time_epoch').map(([time]) => Number(time))
    expect(first).toBeGreaterThan(before - 5)
    expect(first).toBeLessThan(Date.now() / 1000 + 5)
    expect(second).toBeGreaterThanOrEqual(first ?? 0)
  })

  it('holds the largest frame that segmentation offload makes, or what the snap length leaves of it', async () => {
    const frame = new Uint8Array(65_549)
    frame.set(arpFrame)
    expect(
      fields(await captureFile((capture) => capture.capture('tx', 0, gsoHeader, frame)), 'frame.len', 'frame.cap_len'),
    ).toEqual([['65549', '65549']])
    expect(
      fields(
        await captureFile((capture) => capture.capture('tx', 0, gsoHeader, frame), 64),
        'frame.len',
        'frame.cap_len',
      ),
    ).toEqual([['65549', '64']])
  })
})

requirement('tcpdump')('a capture through a pipe', () => {
  it('is read by tcpdump as it happens', async () => {
    const session = new FakeSession()
    const server = await ControlServer.start({ name: 'vt0', observable: session, directory })
    try {
      const pipeline = spawn(
        'sh',
        ['-c', '"$0" "$1" capture vt0 -w - -c 3 | tcpdump -nlr -', process.execPath, program],
        {
          stdio: ['ignore', 'pipe', 'pipe'],
          env: { ...process.env, NETD_RUNTIME_DIR: directory },
        },
      )
      const errors = text(pipeline.stderr)
      let output = ''
      pipeline.stdout.on('data', (chunk: Buffer) => {
        output += chunk
      })
      const ended = new Promise((resolve) => pipeline.on('close', resolve))
      await until(() => session.taps.size === 1)
      session.packet('rx', arpFrame)
      // tcpdump has printed the first before the second is made: nothing waits for the end.
      await until(() => output.includes('who-has 10.0.0.2 tell 10.0.0.1'))
      session.packet('tx', arpFrame)
      session.packet('tx', arpFrame)
      expect(await ended).toBe(0)
      expect(output.match(/who-has/g)).toHaveLength(3)
      expect(await errors).toContain('netd: 3 packets captured, 0 dropped')
      expect(await errors).toContain('link-type EN10MB (Ethernet)')
    } finally {
      await server.close()
    }
  })
})
