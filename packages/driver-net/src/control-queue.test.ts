import { RequestQueue } from '@virtio-ts/core'
import { heapDma } from '@virtio-ts/memory/heap'
import { describe, expect, it } from 'vitest'
import { CONTROL_MEMORY, ControlQueue } from './control-queue.ts'
import { ScriptedQueue } from './scripted-queue.fixture.ts'

function bench(timeout = 5000) {
  const ring = new ScriptedQueue(8)
  const memory = heapDma().allocate(CONTROL_MEMORY)
  const control = new ControlQueue({ queue: new RequestQueue(ring), memory, timeout, device: 'test', generation: 1 })
  return {
    ring,
    memory,
    control,
    /** The device's part: reads a command, as the buffers it is in, and answers it; not at all when there is no answer. */
    async answer(ack?: number): Promise<Uint8Array[]> {
      await new Promise((resolve) => setImmediate(resolve))
      const { buffers } = ring.available[0]!
      const at = ({ address, length }: (typeof buffers)[number]): Uint8Array =>
        memory.bytes.subarray(address - memory.deviceAddress, address - memory.deviceAddress + length)
      const read = buffers.filter(({ writable }) => !writable).map((buffer) => at(buffer).slice())
      const writable = buffers.filter((buffer) => buffer.writable).map(at)
      expect(writable.map(({ length }) => length)).toEqual([1])
      if (ack !== undefined) writable[0]!.set([ack])
      ring.use(ack === undefined ? 0 : 1)
      control.service()
      return read
    },
  }
}

describe('a command', () => {
  it('§ 5.1.6.6 has its parts in descriptors of their own', async () => {
    const { control, answer } = bench()
    const done = control.command(1, 0, [Uint8Array.of(1, 2, 3, 4), Uint8Array.of(5, 6)])
    expect(await answer(0)).toEqual([Uint8Array.of(1, 0), Uint8Array.of(1, 2, 3, 4), Uint8Array.of(5, 6)])
    await done
    const bare = control.command(3, 0, [])
    expect(await answer(0)).toEqual([Uint8Array.of(3, 0)])
    await bare
  })

  it('that comes back unanswered was not obeyed, though the last one was', async () => {
    const { control, answer } = bench()
    const first = control.command(0, 0, [Uint8Array.of(1)])
    await answer(0)
    await first
    const second = control.command(0, 0, [Uint8Array.of(1)])
    const outcome = second.catch((error) => error)
    await answer()
    expect(await outcome).toMatchObject({ code: 'net.control-refused', details: { detail: { ack: 255 } } })
  })

  it('whose caller gave up keeps its memory until the device is done with it', async () => {
    const { control, answer, ring } = bench()
    const stop = new AbortController()
    const first = control.command(0, 0, [Uint8Array.of(1)], { signal: stop.signal })
    await new Promise((resolve) => setImmediate(resolve))
    stop.abort(new Error('enough'))
    await expect(first).rejects.toThrow('enough')
    const second = control.command(2, 1, [Uint8Array.of(7, 0)])
    await new Promise((resolve) => setImmediate(resolve))
    expect(ring.available.length).toBe(1)
    expect(await answer(1)).toEqual([Uint8Array.of(0, 0), Uint8Array.of(1)])
    expect(await answer(0)).toEqual([Uint8Array.of(2, 1), Uint8Array.of(7, 0)])
    await second
  })

  it('of more data than fits is refused before anything happens', async () => {
    const { control, answer } = bench()
    await expect(control.command(1, 0, [new Uint8Array(8000), new Uint8Array(193)])).rejects.toThrow(RangeError)
    const done = control.command(1, 0, [new Uint8Array(8000), new Uint8Array(192)])
    await answer(0)
    await done
  })
})
