import { CommandError } from '@virtio-ts/command-line'
import type { ConsolePort } from '@virtio-ts/driver-console'

type Port = Pick<ConsolePort, 'id' | 'name' | 'isConsole'>

/** `1 "org.example.agent"`, `0 (console)`: what a port is called in messages. */
export function portTitle({ id, name, isConsole }: Port): string {
  return `${id}${name === undefined ? '' : ` ${JSON.stringify(name)}`}${isConsole ? ' (console)' : ''}`
}

/**
 * The port of this number or name; the first console, or else the first port, where nothing is asked for. A number counts as a name too.
 * @throws CommandError `console.no-port`, with the ports there are
 */
export function choosePort<P extends Port>(ports: readonly P[], wanted: number | string | undefined): P {
  const found =
    wanted === undefined
      ? (ports.find(({ isConsole }) => isConsole) ?? ports[0])
      : (ports.find(({ id }) => id === wanted) ?? ports.find(({ name }) => name === String(wanted)))
  if (found) return found
  const first = ports[0]
  throw new CommandError('console.no-port', `the device has no port${wanted === undefined ? '' : ` ${wanted}`}`, {
    why: first === undefined ? 'it has none at all' : ['it has', ...ports.map((port) => `  port ${portTitle(port)}`)],
    fix: first === undefined ? 'plug a port into the device' : `--port ${first.name ?? first.id}`,
  })
}
