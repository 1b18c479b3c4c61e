import { modelFunction, RngModel } from '@virtio-ts/device-models'
import { PciError } from '@virtio-ts/pci'
import { describe, expect, it } from 'vitest'
import type { HostFunctionUser } from './device-kind.ts'
import { HostFunction } from './host-function.ts'
import type { PciLocator } from './locator.ts'

const locator: PciLocator = { scheme: 'vfio', address: '0000:00:04.0' }
const { signal } = new AbortController()

/** What was done to the function, in order, and what is to go wrong. */
function bench({ wait = false, fail = [] as (string | undefined)[] } = {}) {
  const done: string[] = []
  const functions: ReturnType<typeof modelFunction>[] = []
  const user: HostFunctionUser = {
    wait,
    take: async () => {
      const code = fail.shift()
      if (code !== undefined) throw Object.assign(new Error(code), { code })
      done.push('taken')
      return { giveBack: async (gone) => void done.push(gone ? 'gone' : 'given back') }
    },
  }
  const open = async () => {
    const code = fail.shift()
    if (code !== undefined) throw new PciError('pci.no-vfio', code)
    const fn = modelFunction(new RngModel())
    functions.push(fn)
    const close = fn.close.bind(fn)
    fn.close = () => {
      done.push('closed')
      return close()
    }
    done.push('opened')
    return fn
  }
  return { done, functions, open: () => HostFunction.open(locator, user, open, signal) }
}

describe('HostFunction', () => {
  it('is taken, opened, closed and given back, once', async () => {
    const { done, functions, open } = bench()
    const device = await open()
    expect(device).toMatchObject({
      reconnects: false,
      handsOverQueues: false,
      identity: { function: { vendor: 0x1af4 } },
    })
    const transport = await device.attach({ wait: false, signal })
    expect(transport.location).toBe(functions[0]?.address)
    await transport.close()
    await device.release()
    await device.release()
    expect(done).toEqual(['taken', 'opened', 'closed', 'given back'])
  })

  it('is given back when it does not open', async () => {
    const { done, open } = bench({ fail: [undefined, 'cannot'] })
    await expect(open()).rejects.toMatchObject({ code: 'pci.no-vfio' })
    expect(done).toEqual(['taken', 'given back'])
  })

  it.each(['pci.not-found', 'binding.no-function'])('is waited for when it was unplugged, past %s', async (code) => {
    const fail: (string | undefined)[] = []
    const { done, functions, open } = bench({ wait: true, fail })
    const device = await open()
    expect(device.reconnects).toBe(true)
    functions[0]?.unplug()
    fail.push(code)
    await device.attach({ wait: true, signal })
    expect(done).toEqual(['taken', 'opened', 'closed', 'gone', 'taken', 'opened'])
    await device.release()
    expect(done.at(-1)).toBe('given back')
  })

  it('is not waited for when it is there and does not open, or nobody wants to wait', async () => {
    const fail: (string | undefined)[] = []
    const { functions, open } = bench({ wait: true, fail })
    const device = await open()
    functions[0]?.unplug()
    fail.push('takeover.default-route', 'pci.not-found')
    await expect(device.attach({ wait: true, signal })).rejects.toMatchObject({ code: 'takeover.default-route' })
    await expect(device.attach({ wait: false, signal })).rejects.toMatchObject({ code: 'pci.not-found' })
  })

  it('gives up waiting when it is told to', async () => {
    const fail: (string | undefined)[] = []
    const { functions, open } = bench({ wait: true, fail })
    const device = await open()
    functions[0]?.unplug()
    fail.push('pci.not-found')
    const stop = new AbortController()
    const attached = device.attach({ wait: true, signal: stop.signal })
    stop.abort()
    await expect(attached).rejects.toMatchObject({ code: 'ABORT_ERR' })
    await device.release()
  })
})
