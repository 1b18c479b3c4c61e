import { type CommandIo, ExitCode, printJson, printMessage } from '@virtio-ts/command-line'
import { release as releaseFunction } from '../takeover/take-over.ts'
import { type TakeoverHost, thisHost } from '../takeover/takeover-host.ts'

export interface ReleaseArguments {
  /** Undefined for a locator of a device that is taken from nobody: there is nothing to give back. */
  readonly address: string | undefined
  readonly json: boolean
}

/** `netd release`: gives a function back to the driver it came from, with its interfaces, addresses and routes. */
export async function release(
  { address, json }: ReleaseArguments,
  io: CommandIo,
  host: TakeoverHost = thisHost(),
): Promise<number> {
  const released = address === undefined ? undefined : await releaseFunction(address, host)
  const interfaces = released?.entry?.interfaces.map(({ name }) => name) ?? []
  if (json) {
    await printJson(io, {
      address: released?.address ?? null,
      driver: released?.driver ?? null,
      released: released?.entry !== undefined,
      interfaces,
    })
  } else if (released === undefined) printMessage(io, 'nothing to give back: such a device was taken from nobody')
  else if (released.entry === undefined)
    printMessage(io, `nothing to give back: ${released.driver} has ${released.address}`)
  else printMessage(io, `${released.address} is back: ${[released.driver ?? 'no driver', ...interfaces].join(', ')}`)
  return ExitCode.OK
}
