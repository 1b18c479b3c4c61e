import { parseLocator, type QemuLocator } from '@virtio-ts/device-locator'
import { describe, expect, it } from 'vitest'
import { consoleBench } from './console-device.ts'
import { echoConsole } from './echo-console.ts'

const bench = (text: string): readonly string[] => consoleBench(parseLocator(text) as QemuLocator).options.devices

describe('consoleBench', () => {
  it('a device gets its properties, and a console', () => {
    expect(bench('qemu:virtio-serial-pci,max_ports=4;chardev=/c')).toEqual([
      'virtio-serial-pci,id=serial0,max_ports=4',
      'virtconsole,id=port0,chardev=char0',
    ])
  })

  it('a port gets its properties, and a device to be plugged into', () => {
    expect(bench('qemu:virtserialport,name=a,,b,nr=3;chardev=/c')).toEqual([
      'virtio-serial-pci,id=serial0',
      'virtserialport,id=port0,chardev=char0,name=a,,b,nr=3',
    ])
    expect(bench('qemu:virtconsole;chardev=/c')[1]).toBe('virtconsole,id=port0,chardev=char0')
  })

  it('the socket is as the locator says', () => {
    const { options, functionId } = consoleBench(
      parseLocator('qemu:virtconsole;chardev=/c,server=on,wait=off;machine=pc') as QemuLocator,
    )
    expect(options).toMatchObject({ chardevs: ['socket,id=char0,path=/c,server=on,wait=off'], machine: 'pc' })
    expect(functionId).toBe('serial0')
  })
})

describe('echoConsole', () => {
  it.each([{ ports: '' }, { ports: 'a++b' }, { size: '80' }, { size: '0x0' }, { size: '80x70000' }, { color: 'on' }])(
    'refuses %j',
    (options) => {
      expect(() => echoConsole(options)).toThrow(expect.objectContaining({ code: 'locator.option' }))
    },
  )
})
