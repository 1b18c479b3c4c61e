import { ExitCode, type Program } from '@virtio-ts/command-line'
import { vconVersion } from '../version.ts'
import { commands } from './commands.ts'

/** The program. */
export const vcon: Program = {
  name: 'vcon',
  summary: 'the ports of a virtio console, driven from user space, on this terminal',
  commands,
  examples: [
    ['vcon attach model:console', 'a software console that echoes; Ctrl-] leaves'],
    ['vcon attach "qemu:virtio-serial-pci;chardev=/tmp/con0.sock,server=on,wait=off"', 'one of a QEMU bench'],
    ['vcon attach LOCATOR --link /run/con0', 'as a terminal for screen, minicom or a getty'],
    ['vcon list LOCATOR', 'the ports, with their names'],
  ],
  version: vconVersion,
  remedies: {
    [ExitCode.PERMISSION]: 'run it as a user who may open the device, or as root',
    [ExitCode.UNAVAILABLE]: 'vcon list LOCATOR shows what is there',
    [ExitCode.TEMPORARY]: 'start it again',
  },
}
