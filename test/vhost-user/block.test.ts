import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { transportSuite } from '@virtio-ts/conformance'
import { type DriverSpec, initialize, type VirtioDevice } from '@virtio-ts/core'
import type { DmaRegion } from '@virtio-ts/memory'
import { openFdCount } from '@virtio-ts/native'
import { DeviceType, type VirtioError } from '@virtio-ts/spec'
import { VhostUserEndpoint, type VhostUserOptions } from '@virtio-ts/transport-vhost-user'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { requirement } from '../requirements.ts'
import { StorageDaemon } from '../support/storage-daemon.ts'

const SECTOR = 512
const SECTORS = 64
/** struct virtio_blk_req: type, reserved, sector; then data; then one byte of status. */
const HEADER_LENGTH = 16
const REQUEST_IN = 0
const REQUEST_OUT = 1
/** Of struct virtio_blk_config. */
const NUM_QUEUES = 34

/** A block driver, as much of it as it takes to move a sector. */
const blockSpec: DriverSpec<'FLUSH' | 'MQ', 'requestq1' | 'requestq2'> = {
  name: 'block',
  deviceType: DeviceType.BLOCK,
  features: { FLUSH: 9, MQ: 12 },
  queues: async (features, config) => {
    const queues = features.has('MQ') ? await config.read16(NUM_QUEUES) : 1
    const second = { name: 'requestq2', index: 1, size: 128 } as const
    return [{ name: 'requestq1', index: 0, size: 128 }, ...(queues > 1 ? [second] : [])]
  },
}

type Block = VirtioDevice<'FLUSH' | 'MQ', 'requestq1' | 'requestq2'>

async function transfer(
  device: Block,
  memory: DmaRegion,
  type: number,
  sector: number,
  queue: 'requestq1' | 'requestq2' = 'requestq1',
): Promise<number> {
  const view = new DataView(memory.bytes.buffer, memory.bytes.byteOffset)
  view.setUint32(0, type, true)
  view.setBigUint64(8, BigInt(sector), true)
  const status = HEADER_LENGTH + SECTOR
  memory.bytes[status] = 0xff
  const header = { region: memory, offset: 0, length: HEADER_LENGTH }
  const data = { region: memory, offset: HEADER_LENGTH, length: SECTOR }
  const answer = { region: memory, offset: status, length: 1 }
  await device
    .requestQueue(queue)
    .request(
      type === REQUEST_OUT
        ? { readable: [header, data], writable: [answer] }
        : { readable: [header], writable: [data, answer] },
    )
  return memory.bytes[status] as number
}

const sectorContent = (sector: number): Uint8Array => new Uint8Array(SECTOR).map((_, i) => (sector * 31 + i) & 0xff)

requirement('qemu-storage-daemon')('a block device at qemu-storage-daemon', () => {
  let folder = ''
  let image = ''
  let launched = 0
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'virtio-ts-storage-'))
    image = join(folder, 'image')
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  const open: AsyncDisposable[] = []
  afterEach(async () => {
    for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]()
  })

  async function launch(queues = 1): Promise<{ daemon: StorageDaemon; path: string }> {
    const bytes = new Uint8Array(SECTOR * SECTORS)
    for (let sector = 0; sector < SECTORS; sector++) bytes.set(sectorContent(sector), SECTOR * sector)
    writeFileSync(image, bytes)
    const path = join(folder, `${launched++}`)
    const daemon = await StorageDaemon.launch({ path, image, writable: true, queues })
    open.push(daemon)
    return { daemon, path }
  }

  function endpointAt(path: string, options: Partial<VhostUserOptions> = {}): VhostUserEndpoint {
    const endpoint = new VhostUserEndpoint({ path, deviceType: DeviceType.BLOCK, ...options })
    open.push(endpoint)
    return endpoint
  }

  it('reads the configuration and sectors, by notifications and polled', async () => {
    const { path } = await launch()
    const endpoint = endpointAt(path)
    for (const interrupts of ['auto', 'none'] as const) {
      await using device = await initialize(await endpoint.connect({ wait: true }), blockSpec, { interrupts })
      expect(device.describe()).toMatchObject({
        transport: 'vhost-user',
        location: path,
        interrupts: interrupts === 'none' ? 'none' : 'eventfd',
        vectors: interrupts === 'none' ? 0 : 1,
      })
      expect(await device.config.read64(0)).toBe(BigInt(SECTORS))
      const memory = device.allocate(1024)
      for (const sector of [0, 1, 63]) {
        expect(await transfer(device, memory, REQUEST_IN, sector)).toBe(0)
        expect([...memory.bytes.subarray(HEADER_LENGTH, HEADER_LENGTH + SECTOR)]).toEqual([...sectorContent(sector)])
      }
      expect(await transfer(device, memory, REQUEST_IN, SECTORS)).toBe(1)
    }
  })

  it.each([1, 3])('writes through %i regions of memory, on two queues', async (regions) => {
    const { path } = await launch(2)
    const endpoint = endpointAt(path, { memory: { length: 8 << 20, regions } })
    await using device = await initialize(await endpoint.connect({ wait: true }), blockSpec)
    expect(device.describe().queues.length).toBe(2)
    // Two of these do not fit into one region of three.
    const filling = device.allocate(5 << 19)
    const memory = device.allocate(5 << 19)
    expect(memory.file?.fd === filling.file?.fd).toBe(regions === 1)
    for (const [sector, queue] of [
      [5, 'requestq1'],
      [6, 'requestq2'],
    ] as const) {
      memory.bytes.fill(0xa0 + sector, HEADER_LENGTH, HEADER_LENGTH + SECTOR)
      expect(await transfer(device, memory, REQUEST_OUT, sector, queue)).toBe(0)
      expect(readFileSync(image)[SECTOR * sector]).toBe(0xa0 + sector)
    }
  })

  it('ends with device.gone when the daemon is killed, and is there again with the next one', async () => {
    const { daemon, path } = await launch()
    const endpoint = endpointAt(path)
    const device = await initialize(await endpoint.connect({ wait: true }), blockSpec)
    const faults: VirtioError[] = []
    const failed = new Promise<void>((resolve) => device.onFault((reason) => resolve(void faults.push(reason))))
    const memory = device.allocate(1024)
    daemon.signal('SIGSTOP')
    const request = transfer(device, memory, REQUEST_IN, 0).catch((error: unknown) => error)
    await daemon.kill()
    expect(await request).toMatchObject({ code: 'device.gone' })
    await failed
    expect(faults).toMatchObject([
      { code: 'device.gone', cause: { code: 'device.gone', cause: { code: 'vhost-user.disconnected' } } },
    ])
    await device.close()
    await expect(endpoint.connect()).rejects.toMatchObject({ code: 'vhost-user.unreachable' })
    const waiting = endpoint.connect({ wait: true })
    rmSync(path)
    const again = await StorageDaemon.launch({ path, image })
    open.push(again)
    await using next = await initialize(await waiting, blockSpec)
    const fresh = next.allocate(1024)
    expect(await transfer(next, fresh, REQUEST_IN, 3)).toBe(0)
  })

  it('gives up on a reset that is not answered, and on the connection with it', async () => {
    const { daemon, path } = await launch()
    const endpoint = endpointAt(path, { timeout: 200 })
    const before = openFdCount()
    const transport = await endpoint.connect({ wait: true })
    const device = await initialize(transport, blockSpec)
    const memory = device.allocate(1024)
    expect(await transfer(device, memory, REQUEST_IN, 0)).toBe(0)
    daemon.signal('SIGSTOP')
    await expect(device.close()).rejects.toMatchObject({
      code: 'device.reset-timeout',
      cause: { code: 'vhost-user.timeout' },
    })
    expect(() => transport.dma.allocate(64)).toThrow(expect.objectContaining({ code: 'device.gone' }))
    expect(openFdCount()).toBe(before)
    daemon.signal('SIGCONT')
  })

  it('leaves nothing open after a hundred connections', async () => {
    const { path } = await launch()
    const endpoint = endpointAt(path)
    const cycle = async (): Promise<void> => {
      await using device = await initialize(await endpoint.connect({ wait: true }), blockSpec)
      expect(await transfer(device, device.allocate(1024), REQUEST_IN, 1)).toBe(0)
    }
    await cycle()
    const before = openFdCount()
    for (let i = 0; i < 100; i++) await cycle()
    expect(openFdCount()).toBe(before)
  })

  transportSuite('vhost-user-blk', {
    open: async () => {
      const { path } = await launch()
      return { transport: await endpointAt(path).connect({ wait: true }) }
    },
    legacy: false,
    interrupts: 'eventfd',
  })
})
