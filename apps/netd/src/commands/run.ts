import { type CommandIo } from '@virtio-ts/command-line'
import type { RunArguments } from '../command-line/run-arguments.ts'
import { formatLocator } from '@virtio-ts/device-locator'
import { offloadFeatures } from '../session/offload-features.ts'
import { runSession } from '../session/run-session.ts'

/**
 * `netd run`: gives a device to the OS as a TAP interface until a signal comes or the device goes.
 * @returns the exit code; errors of the start are thrown
 */
export function run(args: RunArguments, io: CommandIo): Promise<number> {
  const options = {
    locator: formatLocator(args.locator),
    tap: args.tap,
    withoutFeatures: [...args.features, ...(args.noOffload ? offloadFeatures : [])],
    poll: args.poll,
    force: args.force,
    wait: args.wait,
    queues: args.queues,
    ...(args.mac === undefined ? {} : { mac: args.mac }),
    ...(args.mtu === undefined ? {} : { mtu: args.mtu }),
  }
  return runSession({ kind: 'tap', options }, args, io)
}
