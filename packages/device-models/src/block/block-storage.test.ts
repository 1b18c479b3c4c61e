import { SystemError } from '@virtio-ts/native'
import { BlockRequest as R, hasFeature, BlockFeature } from '@virtio-ts/spec'
import { describe, expect, it } from 'vitest'
import type { BlockStorage } from './block-storage.ts'
import { BlockExecutor } from './block-executor.ts'
import { offeredBlockFeatures } from './block-options.ts'

/** A storage that writes down what is asked of it, and fails where it is told to. */
class Recorder implements BlockStorage {
  readonly allocated: number = 0
  readonly log: string[] = []
  failing = ''

  #do(what: string): void {
    this.log.push(what)
    if (what === this.failing) throw new SystemError('pwrite', 28, 'the image')
  }

  read(_sector: number, length: number): Uint8Array {
    this.#do('read')
    return new Uint8Array(length)
  }
  write(): void {
    this.#do('write')
  }
  zero(_sector: number, _length: number, release: boolean): void {
    this.#do(release ? 'release' : 'zero')
  }
  flush(): void {
    this.#do('flush')
  }
}

function start({
  without = [],
  writeback = true,
}: {
  without?: readonly (keyof typeof BlockFeature)[]
  writeback?: boolean
} = {}) {
  const store = new Recorder()
  let features = offeredBlockFeatures({})
  for (const name of without)
    if (hasFeature(features, BlockFeature[name])) features &= ~(1n << BigInt(BlockFeature[name]))
  const parts = { options: {}, store, zones: undefined, capacity: () => 100, features: () => features }
  const executor = new BlockExecutor({ ...parts, writeback: () => writeback })
  const run = (type: number, data: Uint8Array = new Uint8Array(512), room = 0): number =>
    executor.execute({ type, sector: type === R.T_IN || type === R.T_OUT ? 1 : 0, data, room }).status
  return { store, run }
}

/** One range: sector 1, two sectors. */
const range = (flags = 0): Uint8Array => Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, flags, 0, 0, 0)

describe("a block model's storage", () => {
  it('is flushed when the driver says so, and not otherwise', () => {
    const { store, run } = start()
    expect([run(R.T_OUT), run(R.T_IN, new Uint8Array(0), 512), run(R.T_FLUSH, new Uint8Array(0))]).toEqual([0, 0, 0])
    expect([run(R.T_WRITE_ZEROES, range()), run(R.T_WRITE_ZEROES, range(1)), run(R.T_DISCARD, range())]).toEqual([
      0, 0, 0,
    ])
    expect(store.log).toEqual(['write', 'read', 'flush', 'zero', 'release', 'release'])
  })

  it.each([
    ['the cache is switched off', { writeback: false }],
    ['nobody can flush', { without: ['FLUSH'] as const }],
  ])('is flushed behind each change where %s', (_what, options) => {
    const { store, run } = start(options)
    run(R.T_OUT)
    run(R.T_IN, new Uint8Array(0), 512)
    run(R.T_WRITE_ZEROES, range())
    expect(store.log).toEqual(['write', 'flush', 'read', 'zero', 'flush'])
  })

  it.each([
    ['read', R.T_IN, new Uint8Array(0), 512],
    ['write', R.T_OUT, new Uint8Array(512), 0],
    ['zero', R.T_WRITE_ZEROES, range(), 0],
    ['release', R.T_DISCARD, range(), 0],
    ['flush', R.T_FLUSH, new Uint8Array(0), 0],
  ])('that cannot %s makes the request fail, and nothing else', (failing, type, data, room) => {
    const { store, run } = start()
    store.failing = failing
    expect(run(type, data, room)).toBe(R.S_IOERR)
    store.failing = ''
    expect(run(type, data, room)).toBe(R.S_OK)
  })

  it('that cannot flush makes a write fail that had to be safe', () => {
    const { store, run } = start({ writeback: false })
    store.failing = 'flush'
    expect(run(R.T_OUT)).toBe(R.S_IOERR)
  })
})
