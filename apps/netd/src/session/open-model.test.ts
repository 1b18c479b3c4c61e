import { describe, expect, it } from 'vitest'
import { parseLocator } from '@virtio-ts/device-locator'
import { type OpenModel, openModel } from './open-model.ts'

function open(text: string): Promise<OpenModel> {
  const locator = parseLocator(text)
  if (locator.scheme !== 'model') throw new Error(`${text} is no model`)
  return openModel(locator.options)
}

describe('model:net', () => {
  it.each([
    ['model:net', 0x1041],
    ['model:net,interface=legacy', 0x1000],
    ['model:net,interface=transitional,profile=sloppy', 0x1000],
    ['model:net,profile=vbox-4.3', 0x1000],
    ['model:net,hostile=id-range', 0x1041],
  ])('%s is a function with device ID %i', async (locator, id) => {
    const { fn, release } = await open(locator)
    expect(fn.configRead16(0)).toBe(0x1af4)
    expect(fn.configRead16(2)).toBe(id)
    await release()
  })

  it('takes its address and its peer’s', async () => {
    const { fn, peer, release } = await open('model:net,mac=52:54:00:00:00:09,peer=192.0.2.1')
    expect(fn.model.mac).toBe('52:54:00:00:00:09')
    expect(peer.address).toBe('192.0.2.1')
    await release()
  })

  it.each([
    ['model:net,colour=red', 'colour'],
    ['model:net,profile=constructor', 'profile'],
    ['model:net,interface=isa', 'interface'],
    ['model:net,hostile=mildly', 'hostile'],
    ['model:net,packed=perhaps', 'packed'],
    ['model:net,mac=01:00:00:00:00:01', 'mac'],
    ['model:net,peer=999.1.1.1', 'peer'],
  ])('%s is refused, naming the option', async (locator, option) => {
    await expect(open(locator)).rejects.toMatchObject({
      code: 'locator.option',
      message: expect.stringContaining(option) as string,
    })
  })
})
