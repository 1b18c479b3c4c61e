import { openFdCount } from '@virtio-ts/native'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { InterruptLines, type LineVector } from './interrupt-lines.ts'
import { until } from './raw-virtio.fixture.ts'

/** Devices on one wire, which report as QEMU does: edges of the line, not of the devices. */
class Wire {
  readonly holding = new Set<string>()
  watched = 0
  readonly lines: InterruptLines = new InterruptLines({
    watch: () => {
      this.watched++
      return () => this.watched--
    },
  })

  open(name: string): LineVector {
    return this.lines.open(21, () => this.holding.has(name))
  }

  raise(name: string): void {
    if (this.holding.size === 0) {
      this.holding.add(name)
      this.lines.change(21, true)
    } else this.holding.add(name)
  }

  /** What reading the ISR does. */
  lower(name: string): boolean {
    const held = this.holding.delete(name)
    if (held && this.holding.size === 0) this.lines.change(21, false)
    return held
  }
}

let wire: Wire
let before: number
const open: LineVector[] = []
const vector = (name: string): LineVector => {
  const made = wire.open(name)
  open.push(made)
  return made
}
beforeEach(() => {
  before = openFdCount()
  wire = new Wire()
})
afterEach(() => {
  for (const each of open.splice(0)) each.close()
  expect(wire.watched).toBe(0)
  expect(openFdCount()).toBe(before)
})
const turns = async (count: number): Promise<void> => {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve))
}

describe('InterruptLines', () => {
  it('a raise signals every function on the line, and no other line', () => {
    const [a, b] = [vector('a'), vector('b')]
    const other = wire.lines.open(20, () => false)
    open.push(other)
    wire.raise('a')
    expect([a.drain(), b.drain(), other.drain()]).toEqual([true, true, false])
    expect(a.drain()).toBe(false)
  })

  it('a function that raises a held line just after it looked is signalled again', async () => {
    let served = 0
    const a = vector('a')
    const b = vector('b')
    // b looks first, finds nothing, raises; then a lowers: the line has never been low
    b.watch(() => {
      if (wire.lower('b')) served++
      else wire.raise('b')
    })
    await turns(2)
    wire.raise('a')
    a.watch(() => wire.lower('a'))
    await until(() => served === 1)
    expect(wire.holding.size).toBe(0)
  })

  it('comes back until the device lowers the line, also for whoever drains by hand', async () => {
    const a = vector('a')
    wire.raise('a')
    for (let i = 0; i < 5; i++) await until(() => a.drain())
    wire.lower('a')
    await turns(3)
    a.drain()
    await new Promise((resolve) => setTimeout(resolve, 10))
    expect(a.drain()).toBe(false)
  })

  it('a neighbour that nobody serves costs its own wake-ups only', async () => {
    const b = vector('b')
    vector('stuck')
    wire.raise('stuck')
    let calls = 0
    b.watch(() => {
      calls++
      wire.lower('b')
    })
    await new Promise((resolve) => setTimeout(resolve, 30))
    // the raise itself, which does not say whose it is
    expect(calls).toBe(1)
    wire.raise('b')
    await until(() => calls === 2)
  })

  it('is quiet after the last close, and reports are watched only in between', async () => {
    const a = vector('a')
    const b = vector('b')
    expect(wire.watched).toBe(1)
    wire.raise('a')
    a.close()
    a.close()
    expect(wire.watched).toBe(1)
    b.close()
    expect(wire.watched).toBe(0)
    expect([a.drain(), b.drain()]).toEqual([false, false])
    wire.raise('b')
    await turns(3)
  })
})
