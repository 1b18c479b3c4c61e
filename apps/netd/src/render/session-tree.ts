import pc from 'picocolors'
import { printable } from '../command-line/printable.ts'
import type { SessionDescription } from '../control/observable.ts'
import type { RunningDescription } from '../control/protocol.ts'
import { deviceLabel } from '../devices/device-label.ts'
import { renderTree, type TreeNode } from './tree.ts'

function pciId(id: number): string {
  return id.toString(16).padStart(4, '0')
}

function interruptsOf({ interrupts, vectors }: SessionDescription['device']): string {
  if (interrupts === 'none') return 'polled, no interrupts'
  if (interrupts === 'intx') return 'INTx'
  const count = `${vectors} ${vectors === 1 ? 'vector' : 'vectors'}`
  return interrupts === 'eventfd' ? `eventfds, ${count}` : `MSI-X ${count}`
}

/** modern, transitional or legacy: what the function is, not how it is driven. */
function generationOf({ function: fn, device }: SessionDescription): string {
  if (fn.device >= 0x1040) return 'modern'
  return device.legacy ? 'legacy' : 'transitional'
}

/** The chain of one session as a tree: PciFunction, VirtioPciDriver, NetDriver, TAP. */
function sessionTree(description: SessionDescription): TreeNode {
  const { function: fn, device, net, tap } = description
  const queues = device.queues.map(({ name, size }) => `${name} ${size}`).join(', ')
  return {
    label: `${fn.bus} ${fn.address}  ${pciId(fn.vendor)}:${pciId(fn.device)}  ${deviceLabel(device.deviceType)} (${generationOf(description)})`,
    children: [
      {
        label: `VirtioPciDriver  ${device.transport}, ${interruptsOf(device)}`,
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

/** `sessionTree` as text; with colours the names of the classes stand out. No final line feed. */
export function renderSession(description: SessionDescription, { width, color = false }: RenderOptions = {}): string {
  const { bold, cyan, dim } = pc.createColors(color)
  const text = printable(renderTree(sessionTree(description), width))
  if (!color) return text
  return text
    .split('\n')
    .map((line) =>
      line
        .replace(/^([ │├└─]+)/, (lines) => dim(lines))
        .replace(/(VirtioPciDriver|NetDriver|TAP [^ ]+)(?= {2})/, (name) => bold(name))
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
