import { ExitCode, type Program } from '@virtio-ts/command-line'
import { netdVersion } from '../version.ts'
import { commands } from './commands.ts'

/** The program. */
export const netd: Program = {
  name: 'netd',
  summary: 'a virtio network device, driven from user space, as a TAP interface of this machine',
  commands,
  examples: [
    ['netd demo', 'the whole stack in this process: no root, no QEMU'],
    ['netd doctor', 'what this machine has and lacks, with the command that mends it'],
    ['sudo netd run qemu:virtio-net-pci --tap vt0', 'a virtio device of a QEMU bench as interface vt0'],
    ['netd capture vt0 -w - | tcpdump -nr -', 'what goes through it, as it happens'],
  ],
  version: netdVersion,
  remedies: {
    [ExitCode.PERMISSION]: 'run it as root, or in a network namespace of your own: unshare -rn; netd doctor says more',
    [ExitCode.CANNOT_CREATE_TAP]: 'netd doctor',
    [ExitCode.UNAVAILABLE]: 'netd doctor',
    [ExitCode.TEMPORARY]: 'start it again; if that does not help: netd doctor',
  },
}
