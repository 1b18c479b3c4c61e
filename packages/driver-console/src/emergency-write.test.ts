import { ConsoleModel, modelFunction, RngModel } from '@virtio-ts/device-models'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { describe, expect, it } from 'vitest'
import { ConsoleDriver, emergencyWrite } from './index.ts'

describe('§ 5.3.5 emergency write', () => {
  it.each(['modern', 'legacy'] as const)('says a character on a %s device that nobody has set up', async (kind) => {
    const model = new ConsoleModel()
    const fn = modelFunction(model, { interface: kind })
    const transport = await VirtioPciDriver.attach(fn)
    for (const byte of [0x48, 0x69, 0xff]) await emergencyWrite(transport, byte)
    expect(model.emergency).toEqual([0x48, 0x69, 0xff])
    const driver = await ConsoleDriver.open(transport)
    await emergencyWrite(transport, 0x21)
    expect(model.emergency).toEqual([0x48, 0x69, 0xff, 0x21])
    await driver.close()
    expect(fn.violations).toEqual([])
    await fn.close()
  })

  it('is refused where the device has none, and where it is no console', async () => {
    const others = [new ConsoleModel({ emergencyWrite: false }), new RngModel()]
    for (const model of others) {
      const fn = modelFunction(model)
      const transport = await VirtioPciDriver.attach(fn)
      await expect(emergencyWrite(transport, 1)).rejects.toMatchObject({ code: 'console.no-emergency-write' })
      expect(fn.violations).toEqual([])
      await transport.close()
      await fn.close()
    }
  })

  it.each([-1, 256, 1.5])('takes no %s', async (byte) => {
    await expect(emergencyWrite(undefined as never, byte)).rejects.toBeInstanceOf(RangeError)
  })
})
