import { type CommandIo } from '@virtio-ts/command-line'
import type { BridgeArguments } from '../command-line/bridge-arguments.ts'
import { sessionNames } from '../control/control-client.ts'
import { formatLocator } from '@virtio-ts/device-locator'
import { offloadFeatures } from '../session/offload-features.ts'
import { runSession } from '../session/run-session.ts'

/**
 * `netd bridge`: forwards between two devices until a signal comes or one of them goes for good.
 * @returns the exit code; errors of the start are thrown
 */
export function bridge(args: BridgeArguments, io: CommandIo): Promise<number> {
  const [a, b] = args.locators
  const options = {
    name: args.name ?? freeName(),
    locators: [formatLocator(a), formatLocator(b)] as const,
    withoutFeatures: [...args.features, ...(args.noOffload ? offloadFeatures : [])],
    poll: args.poll,
    force: args.force,
    wait: args.wait,
    queues: args.queues,
  }
  return runSession({ kind: 'bridge', options }, { ...args, capture: undefined }, io)
}

/** The first of `bridge0`, `bridge1`, ... that no netd of this user has, or has left behind. */
function freeName(): string {
  const taken = sessionNames()
  let number = 0
  while (taken.includes(`bridge${number}`)) number++
  return `bridge${number}`
}
