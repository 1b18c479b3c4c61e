import { describe, expect, it } from 'vitest'
import { heapDma } from './heap.ts'

describe('heapDma', () => {
  it('has 16 MiB from device address 2 MiB unless told otherwise', () => {
    const dma = heapDma()
    const all = dma.allocate(16 * 1024 * 1024)
    expect(all.deviceAddress).toBe(0x20_0000)
    expect(all.file).toBeUndefined()
    expect(() => dma.allocate(1)).toThrow(expect.objectContaining({ code: 'memory.exhausted' }))
  })

  it('has the length and the address it was told', () => {
    const dma = heapDma(4096, { deviceAddress: 0 })
    expect(dma.allocate(4096).deviceAddress).toBe(0)
    expect(() => dma.allocate(1)).toThrow(expect.objectContaining({ code: 'memory.exhausted' }))
  })
})
