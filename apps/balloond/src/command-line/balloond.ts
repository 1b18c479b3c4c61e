import { ExitCode, type Program } from '@virtio-ts/command-line'
import { balloondVersion } from '../version.ts'
import { command } from './command.ts'

/** The program: one command, without a name. */
export const balloond: Program = {
  name: 'balloond',
  summary: command.summary,
  commands: [command],
  examples: command.examples,
  version: balloondVersion,
  remedies: {
    [ExitCode.PERMISSION]: 'run it as a user who may open the device, or as root',
    [ExitCode.UNAVAILABLE]: 'check the locator: balloond --help',
    [ExitCode.TEMPORARY]: 'start it again',
  },
}
