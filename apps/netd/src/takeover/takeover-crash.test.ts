import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FakeKernel } from '../../../../packages/pci/src/fake-kernel.fixture.ts'
import { release, type Taken, takeOver } from './take-over.ts'
import { address, TakeoverBench } from './takeover-bench.fixture.ts'

let kernel: FakeKernel
let bench: TakeoverBench
beforeEach(() => {
  kernel = new FakeKernel(['virtio-pci', 'vfio-pci', 'uio_pci_generic'])
  bench = new TakeoverBench(kernel)
})
afterEach(() => bench[Symbol.dispose]())

describe('a process that is killed', () => {
  it('at any step of taking: release brings everything back', async () => {
    const before = bench.network.state
    let step = 1
    for (; ; step++) {
      const killing = bench.killAt(step)
      const outcome: Taken | Error = await takeOver(address, {}, bench.host).catch((error: Error) => error)
      killing.revive()
      if (!(outcome instanceof Error)) {
        await outcome.giveBack()
        break
      }
      expect(outcome.message).toContain('killed here')
      await release(address, bench.host)
      expect([step, bench.driver, kernel.override(address), bench.journal.addresses()]).toEqual([
        step,
        'virtio-pci',
        '(null)',
        [],
      ])
      expect(bench.network.state).toEqual(before)
    }
    // The journal, the override, unbinding and probing, each before and after.
    expect(step).toBe(9)
  })

  it('at any step of taking: the next netd takes over, and gives back what was there before', async () => {
    const before = bench.network.state
    for (let step = 1; step <= 8; step++) {
      const killing = bench.killAt(step)
      await expect(takeOver(address, {}, bench.host)).rejects.toThrow('killed here')
      killing.revive()
      const taken = await takeOver(address, {}, bench.host)
      expect([bench.driver, bench.network.interfaces.size]).toEqual(['vfio-pci', 0])
      await taken.giveBack()
      expect([step, bench.driver, kernel.override(address), bench.journal.addresses()]).toEqual([
        step,
        'virtio-pci',
        '(null)',
        [],
      ])
      expect(bench.network.state).toEqual(before)
    }
  })

  it('at any step of giving back: release does the rest, as does the next netd', async () => {
    const before = bench.network.state
    for (const next of [
      () => release(address, bench.host),
      async () => (await takeOver(address, {}, bench.host)).giveBack(),
    ]) {
      let step = 1
      for (; ; step++) {
        await takeOver(address, { by: 'bind' }, bench.host).then((taken) => taken.giveBack())
        const killing = bench.killAt(step)
        bench.nextName = step % 2 === 0 ? 'eth0' : 'ens4'
        const killed = await release(address, bench.host).then(
          () => false,
          () => true,
        )
        killing.revive()
        if (!killed) break
        if (step % 3 === 0) await release(address, bench.host)
        await next()
        if (bench.driver !== 'virtio-pci') await release(address, bench.host)
        expect([step, bench.driver, kernel.override(address), bench.journal.addresses()]).toEqual([
          step,
          'virtio-pci',
          '(null)',
          [],
        ])
        expect([step, bench.network.state]).toEqual([step, before])
      }
      expect(step).toBeGreaterThan(25)
    }
  })
})
