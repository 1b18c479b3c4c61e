import { describe, expect, it } from 'vitest'
import { eagerQueue, plainMemory } from './eager-queue.fixture.ts'
import { ReceivePath } from './receive-path.ts'
import { TransmitPath } from './transmit-path.ts'

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}

describe('a device that is as fast as the driver, and does not notify', () => {
  it('has others take their turn while data comes in, and none of it waits for a notification', async () => {
    let came = 0
    const path = new ReceivePath({
      queue: eagerQueue((length) => length),
      memory: plainMemory(4 * 16),
      buffers: 4,
      polled: false,
      sink: (bytes) => (came += bytes.length) < 1600,
    })
    path.want()
    expect(came).toBe(4 * 16)
    await turns(100)
    expect(came).toBe(1600)
  })

  it('has others take their turn while data goes out, and none of it waits for a notification', async () => {
    const path = new TransmitPath({
      queue: eagerQueue(() => 0),
      memory: plainMemory(4 * 16),
      buffers: 4,
      polled: false,
    })
    let done = false
    path.write(new Uint8Array(6400), () => (done = true))
    expect(done).toBe(false)
    expect(path.bytes).toBeLessThan(1000)
    await turns(100)
    expect(done).toBe(true)
    expect(path.bytes).toBe(6400)
  })
})
