import { execFile } from 'node:child_process'
import { CommandError } from '@virtio-ts/command-line'

/*
 * Addresses and routes are read and made by ip(8) of iproute2, a process for each command, and not over rtnetlink: `ip -json` prints every
 * attribute the kernel knows by the same words its command line takes them, so what is recorded is what is given again, an operator
 * can read the journal and the commands, and new attributes are iproute2's to learn. It happens when a device is taken or given back,
 * where a few milliseconds do not matter.
 */

/** ip(8) as taking over needs it; tests bring their own. */
export interface IpCommand {
  /** What `ip -json ARGS` prints. @throws CommandError `takeover.ip` */
  list(args: readonly string[]): Promise<readonly unknown[]>
  /** @throws CommandError `takeover.ip` with what ip said as its `why` */
  run(args: readonly string[]): Promise<void>
}

/** How long one command may take, in milliseconds. */
const limit = 10_000

function failure(args: readonly string[], why: string, cause?: unknown): CommandError {
  return new CommandError('takeover.ip', `ip ${args.join(' ')} failed`, { why, cause })
}

function execute(args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = {
      timeout: limit,
      killSignal: 'SIGKILL',
      maxBuffer: 1 << 26,
      env: { ...process.env, LC_ALL: 'C' },
    } as const
    execFile('ip', [...args], options, (error, stdout, stderr) => {
      if (!error) return resolve(stdout)
      if (error.code === 'ENOENT') {
        return reject(
          new CommandError('takeover.ip', 'there is no ip command', {
            why: 'addresses and routes are recorded and restored with it',
            fix: 'sudo apt-get install iproute2',
          }),
        )
      }
      reject(failure(args, stderr.trim() || (error.killed ? `no answer for ${limit} ms` : error.message), error))
    })
  })
}

/** iproute2's. */
export const ipCommand: IpCommand = {
  async list(args) {
    const text = await execute(['-json', '-details', ...args])
    try {
      const found: unknown = text.trim() === '' ? [] : JSON.parse(text)
      if (Array.isArray(found)) return found
    } catch {
      // Another ip than iproute2's.
    }
    throw new CommandError('takeover.ip', 'ip does not answer in JSON', {
      why: "it is not iproute2's (busybox has one that cannot)",
      fix: 'sudo apt-get install iproute2',
    })
  },
  async run(args) {
    await execute(args)
  },
}

/** An option of ip(8) and its value, or nothing. */
export function option(name: string, value: string | number | undefined): string[] {
  return value === undefined ? [] : [name, String(value)]
}
