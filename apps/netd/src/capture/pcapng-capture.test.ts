import { PassThrough, Writable } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { PcapngCapture } from './pcapng-capture.ts'
import { PcapngScanner } from './pcapng-scanner.ts'

const header = new Uint8Array(12)

/** A reader that takes nothing until told to. */
class StuckOutput extends Writable {
  chunks: Buffer[] = []
  #waiting: (() => void) | undefined
  #open = false

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.chunks.push(chunk)
    if (this.#open) done()
    else this.#waiting = done
  }

  unstick(): void {
    this.#open = true
    this.#waiting?.()
  }
}

function scan(...chunks: Buffer[]): PcapngScanner {
  const scanner = new PcapngScanner()
  for (const chunk of chunks) scanner.push(chunk)
  return scanner
}

function collect(stream: PassThrough): () => Buffer {
  const chunks: Buffer[] = []
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  return () => Buffer.concat(chunks)
}

describe('PcapngCapture', () => {
  it('copies: the caller may use its buffers again at once', async () => {
    const output = new PassThrough()
    const bytes = collect(output)
    const capture = new PcapngCapture(output, { interfaceName: 'x', description: 'y' })
    const frame = new Uint8Array(60).fill(0xaa)
    capture.capture('rx', 0, header, frame.subarray(0, 14), frame.subarray(14))
    frame.fill(0xbb)
    await capture.close()
    expect(bytes().includes(Buffer.alloc(60, 0xaa))).toBe(true)
    expect(bytes().includes(Buffer.alloc(4, 0xbb))).toBe(false)
    expect(scan(bytes())).toMatchObject({ packets: 1, dropped: 0, complete: true })
  })

  it('writes what came in one turn of the event loop at once, and waits for nothing after it', async () => {
    const output = new StuckOutput()
    const capture = new PcapngCapture(output, { interfaceName: 'x', description: 'y' })
    for (let i = 0; i < 10; i++) capture.capture('tx', 0, header, new Uint8Array(60))
    expect(output.chunks).toHaveLength(0)
    await nextTurn()
    expect(output.chunks).toHaveLength(1)
    expect(scan(...output.chunks).packets).toBe(10)
    output.unstick()
    await capture.close()
  })

  it('drops and counts what a reader is too slow for, and says so in the capture', async () => {
    const output = new StuckOutput()
    const capture = new PcapngCapture(output, { interfaceName: 'x', description: 'y', maxBuffered: 10_000 })
    for (let i = 0; i < 100; i++) capture.capture('rx', 0, header, new Uint8Array(1000))
    await nextTurn()
    const { captured, dropped } = capture
    expect(captured).toBeGreaterThan(5)
    expect(captured).toBeLessThan(10)
    expect(captured + dropped).toBe(100)
    output.unstick()
    await nextTurn()
    capture.capture('rx', 0, header, new Uint8Array(1000))
    capture.capture('rx', 0, header, new Uint8Array(1000))
    await capture.close()
    expect(capture.captured).toBe(captured + 2)
    expect(scan(...output.chunks)).toMatchObject({ packets: captured + 2, dropped, complete: true })
    // epb_dropcount of the packet after the gap, and of no other: code 4, 8 bytes.
    const option = Buffer.alloc(12)
    option.writeUInt16LE(4, 0)
    option.writeUInt16LE(8, 2)
    option.writeBigUInt64LE(BigInt(dropped), 4)
    const bytes = Buffer.concat(output.chunks)
    expect(bytes.indexOf(option)).toBeGreaterThan(0)
    expect(bytes.lastIndexOf(option)).toBe(bytes.indexOf(option))
  })

  it('ends by itself after its count', async () => {
    const output = new PassThrough()
    const bytes = collect(output)
    const ended = new Promise((resolve) => {
      const capture = new PcapngCapture(output, { interfaceName: 'x', description: 'y', count: 2, onEnd: resolve })
      for (let i = 0; i < 5; i++) capture.capture('rx', 0, header, new Uint8Array(60))
    })
    expect(await ended).toBeUndefined()
    expect(scan(bytes())).toMatchObject({ packets: 2, complete: true })
  })

  it('keeps no more of a packet than the snap length', async () => {
    const output = new PassThrough()
    const bytes = collect(output)
    const capture = new PcapngCapture(output, { interfaceName: 'x', description: 'y', snaplen: 64 })
    capture.capture('rx', 0, header, new Uint8Array(60).fill(0xaa), new Uint8Array(60).fill(0xaa))
    await capture.close()
    expect(bytes().includes(Buffer.alloc(64, 0xaa))).toBe(true)
    expect(bytes().includes(Buffer.alloc(65, 0xaa))).toBe(false)
  })

  it('ends when its output fails, and takes nothing more', async () => {
    const output = new PassThrough()
    const ended = new Promise<Error | undefined>((resolve) => {
      const capture = new PcapngCapture(output, { interfaceName: 'x', description: 'y', onEnd: resolve })
      capture.capture('rx', 0, header, new Uint8Array(60))
      output.destroy(new Error('disk full'))
      queueMicrotask(() => capture.capture('rx', 0, header, new Uint8Array(60)))
    })
    expect((await ended)?.message).toBe('disk full')
  })

  it('closes once, whoever asks', async () => {
    const output = new PassThrough()
    collect(output)
    let ends = 0
    const capture = new PcapngCapture(output, { interfaceName: 'x', description: 'y', onEnd: () => ends++ })
    await Promise.all([capture.close(), capture.close()])
    capture.capture('rx', 0, header, new Uint8Array(60))
    await capture.close()
    await nextTurn()
    expect([ends, capture.captured]).toEqual([1, 0])
  })

  it('gives up on a reader that never reads', async () => {
    const output = new StuckOutput()
    let failure: Error | undefined
    const capture = new PcapngCapture(output, {
      interfaceName: 'x',
      description: 'y',
      onEnd: (reason) => (failure = reason),
    })
    capture.capture('rx', 0, header, new Uint8Array(60))
    await capture.close()
    expect(failure?.message).toContain('does not read')
    expect(output.destroyed).toBe(true)
  })
})

describe('PcapngScanner', () => {
  it('counts the same however the bytes are cut', async () => {
    const output = new PassThrough()
    const bytes = collect(output)
    const capture = new PcapngCapture(output, { interfaceName: 'x', description: 'y' })
    for (let i = 0; i < 3; i++) capture.capture('rx', 0, header, new Uint8Array(61))
    await capture.close()
    for (const size of [1, 3, 7, 64, 100_000]) {
      const scanner = new PcapngScanner()
      for (let at = 0; at < bytes().length; at += size) scanner.push(bytes().subarray(at, at + size))
      expect(scanner).toMatchObject({ packets: 3, dropped: 0, complete: true })
    }
    expect(scan(bytes().subarray(0, -1)).complete).toBe(false)
  })

  it.each([0, 11, 13, 0xffff_fffc])('refuses a block of %i bytes', (length) => {
    const block = Buffer.alloc(16)
    block.writeUInt32LE(6, 0)
    block.writeUInt32LE(length, 4)
    expect(() => scan(block)).toThrow(expect.objectContaining({ code: 'capture.malformed' }))
  })
})
