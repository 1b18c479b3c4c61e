import { mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Testpmd, vhostDevice } from '@virtio-ts/conformance/testpmd'
import { NetDriver, type ReceivedPacket } from '@virtio-ts/driver-net'
import { openFdCount } from '@virtio-ts/native'
import { DeviceType } from '@virtio-ts/spec'
import { VhostUserEndpoint } from '@virtio-ts/transport-vhost-user'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { requirement } from '../requirements.ts'
import { numberedFrame, numberOf } from '../support/numbered-traffic.ts'

const KILLS = 25
const WINDOW = 200
/** Frames that have to come back before the next kill. */
const FLOW = 500
/** Of requests to a back-end that shares its core with a thread that never sleeps. */
const PATIENCE = 20_000

interface Session {
  /** Numbers of the frames that came back, in order. */
  readonly returned: number[]
  /** Number of the first frame after those sent. */
  readonly next: number
}

/** Traffic until the device is gone; `onFlow` is called once enough has come back. */
async function trafficUntilGone(driver: NetDriver, first: number, onFlow: () => void): Promise<Session> {
  const returned: number[] = []
  const take = (packet: ReceivedPacket): void => void returned.push(numberOf(packet.toFrame()))
  let gone = false
  let flows = false
  driver.on('fault', () => (gone = true))
  let next = first
  const patience = performance.now() + PATIENCE
  while (!gone && performance.now() < patience) {
    while (next - first - returned.length < WINDOW && driver.send(numberedFrame(driver.mac, next))) next++
    driver.poll()
    driver.receive(take, 64)
    if (!flows && returned.length > FLOW) {
      flows = true
      onFlow()
    }
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { returned, next }
}

/** Mappings of files shared with a back-end, and the pages of shared memory this process holds, in KiB. */
function mappedMemory(): { files: number; pages: number } {
  const files = readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => line.includes('memfd:virtio-ts')).length
  const pages = Number(/^RssShmem:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1])
  return { files, pages }
}

requirement('dpdk-testpmd')('a back-end killed under load', () => {
  let folder = ''
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'virtio-ts-reconnect-'))
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  for (const ring of ['split', 'packed'] as const) {
    it(`V6 ${KILLS} times: the next one carries traffic, no frame comes twice, nothing is left behind; ${ring} ring`, async () => {
      const path = join(folder, ring)
      const launch = (): Promise<Testpmd> =>
        Testpmd.launch({ devices: [vhostDevice({ path: `${path}.next` })], memory: 48, buffers: 2048 })
      await using endpoint = new VhostUserEndpoint({ path, deviceType: DeviceType.NETWORK, timeout: PATIENCE })
      let first = 0
      let baseline: { fds: number; pages: number } | undefined
      for (let kill = 0; kill < KILLS; kill++) {
        const testpmd = await launch()
        const connecting = endpoint.connect({ wait: true })
        renameSync(`${path}.next`, path)
        await testpmd.start()
        const driver = await NetDriver.open(await connecting, {
          interrupts: 'none',
          withoutFeatures: ring === 'packed' ? [] : ['RING_PACKED'],
        })
        const { files, pages } = mappedMemory()
        baseline ??= { fds: openFdCount(), pages: pages + 1024 }
        expect(files).toBe(1)
        expect(openFdCount()).toBe(baseline.fds)
        expect(pages).toBeLessThan(2 * baseline.pages)
        const session = await trafficUntilGone(driver, first, () => testpmd.kill())
        await driver.close()
        await testpmd.close()
        expect(session.returned.length).toBeGreaterThan(FLOW)
        // Each once and in order, and none of an earlier session's.
        let last = first - 1
        for (const number of session.returned) {
          if (number <= last) expect([kill, number]).toEqual([kill, `more than ${last}`])
          last = number
        }
        expect(last).toBeLessThan(session.next)
        first = session.next
      }
      expect(mappedMemory().files).toBe(0)
    })
  }
})
