import { codeOf, CommandError } from '@virtio-ts/command-line'
import { ControlClient, sessionNames } from './control-client.ts'
import { runtimeDirectory } from './runtime-directory.ts'

/**
 * Connects to the netd of this name, or to every one that answers: the sockets of those that were killed are passed over.
 * The caller closes them.
 * @throws CommandError `control.no-session` when a name is given and nobody has it
 */
export async function connectSessions(
  name: string | undefined,
  directory: string = runtimeDirectory(),
): Promise<ControlClient[]> {
  if (name !== undefined) return [await ControlClient.connect(name, directory)]
  const results = await Promise.allSettled(
    sessionNames(directory).map((each) => ControlClient.connect(each, directory)),
  )
  const clients: ControlClient[] = []
  for (const result of results) {
    if (result.status === 'fulfilled') clients.push(result.value)
    else if (codeOf(result.reason) !== 'control.no-session') {
      for (const client of clients) client.close()
      throw result.reason
    }
  }
  return clients
}

/** The error for a command that needs at least one running netd. */
export function nobodyRunning(directory: string = runtimeDirectory()): CommandError {
  return new CommandError('control.no-session', 'no netd is running', {
    why: `none of this user answers in ${directory}; those of root need sudo`,
    fix: 'netd run qemu:virtio-net-pci',
  })
}
