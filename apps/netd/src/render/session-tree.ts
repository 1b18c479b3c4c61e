import { printable, renderTree, type TreeNode } from '@virtio-ts/command-line'
import pc from 'picocolors'
import type { PortDescription, SessionDescription, TapDescription } from '../control/observable.ts'
import type { RunningDescription } from '../control/protocol.ts'
import { deviceLabel } from '../devices/device-label.ts'

function pciId(id: number): string {
  return id.toString(16).padStart(4, '0')
}

function interruptsOf({ device: { interrupts, vectors } }: PortDescription): string {
  if (interrupts === 'none') return 'polled, no interrupts'
  if (interrupts === 'intx') return 'INTx'
  const count = `${vectors} ${vectors === 1 ? 'vector' : 'vectors'}`
  return interrupts === 'eventfd' ? `eventfds, ${count}` : `MSI-X ${count}`
}

/** The device where it is: a PCI function, or a back-end behind a socket. */
function deviceLine({ function: fn, socket, device }: PortDescription): string {
  const type = deviceLabel(device.deviceType)
  if (socket) return `vhost-user ${socket.path}  ${type} (the ${socket.listens} listens)`
  if (!fn) return `${device.location}  ${type}`
  // What the function is, not how it is driven.
  const generation = fn.device >= 0x1040 ? 'modern' : device.legacy ? 'legacy' : 'transitional'
  return `${fn.bus} ${fn.address}  ${pciId(fn.vendor)}:${pciId(fn.device)}  ${type} (${generation})`
}

/** The chain of one device as a tree: PciFunction, VirtioPciDriver, NetDriver, TAP. */
function portTree(description: PortDescription, tap: TapDescription | undefined): TreeNode {
  const { device, net } = description
  const queues = device.queues.map(({ name, size }) => `${name} ${size}`).join(', ')
  return {
    label: deviceLine(description),
    children: [
      {
        label: `${description.socket ? 'VhostUserEndpoint' : 'VirtioPciDriver'}  ${device.transport}, ${interruptsOf(description)}`,
        children: [
          {
            label: `NetDriver  ${net.mac}, link ${net.linkUp ? 'up' : 'down'}, MTU ${net.mtu}`,
            lines: [`features: ${device.features.join(' ') || 'none'}`, `queues: ${queues}`],
            children: tap
              ? [{ label: `TAP ${tap.name}  ${tap.up ? 'up' : 'down'}, offloads: ${tap.offloads.join(' ') || 'none'}` }]
              : [],
          },
        ],
      },
    ],
  }
}

export interface RenderOptions {
  readonly width?: number
  readonly color?: boolean
}

/** The chain of one session, or the two of a bridge, as text; with colours the names of the classes stand out. No final line feed. */
export function renderSession(description: SessionDescription, { width, color = false }: RenderOptions = {}): string {
  const { bold, cyan, dim } = pc.createColors(color)
  const { tap, peer } = description
  const trees = [portTree(description, tap), ...(peer ? [portTree(peer, undefined)] : [])]
  const text = printable(trees.map((tree) => renderTree(tree, width)).join('\n'))
  if (!color) return text
  return text
    .split('\n')
    .map((line) =>
      line
        .replace(/^([ │├└─]+)/, (lines) => dim(lines))
        .replace(/(VirtioPciDriver|VhostUserEndpoint|NetDriver|TAP [^ ]+)(?= {2})/, (name) => bold(name))
        .replace(/(features|queues):/, (name) => cyan(name)),
    )
    .join('\n')
}

/** The line above a running session's tree. */
export function renderHeading(
  { name, pid, state, started }: RunningDescription,
  { color = false }: RenderOptions = {},
): string {
  const { bold, green, yellow } = pc.createColors(color)
  return `${bold(printable(name))}  ${state === 'running' ? green(state) : yellow(printable(state))}, pid ${pid}, since ${printable(started)}`
}
