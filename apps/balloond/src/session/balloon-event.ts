import { printable } from '@virtio-ts/command-line'
import { formatSize } from '../command-line/parse-size.ts'

/** What `balloond --json` prints, one object a line. Sizes are in bytes. */
export type BalloonEvent =
  | {
      readonly event: 'ready'
      /** The locator. */
      readonly device: string
      readonly features: readonly string[]
      readonly transport: string
      readonly vectors: number
      /** The file that tells the pressure, or null where there is none. */
      readonly pressure: string | null
      readonly dryRun: boolean
    }
  /** The device asks for another size. */
  | { readonly event: 'target'; readonly target: number }
  /** The balloon has another size, `balloon`: by how much, and how much it is to be. */
  | {
      readonly event: 'inflated' | 'deflated'
      readonly by: number
      readonly balloon: number
      readonly target: number
      readonly dryRun: boolean
    }
  /** Work waits for memory here, or memory gets short, and when it does not any more. */
  | { readonly event: 'pressure'; readonly pressed: boolean; readonly some?: number; readonly available?: number }
  /** The device asks for more than there is. */
  | { readonly event: 'short'; readonly missing: number }
  /** Something does not work, and balloond goes on without it. */
  | { readonly event: 'warning'; readonly code: string; readonly message: string }
  | { readonly event: 'stopped'; readonly reason: string }

/** The same for people. */
export function eventText(event: BalloonEvent): string {
  switch (event.event) {
    case 'ready': {
      const follows = event.pressure === null ? 'this system tells no memory pressure' : `follows ${event.pressure}`
      const dry = event.dryRun ? '; gives no memory' : ''
      return printable(`${event.device} (${event.transport}): ${event.features.join(' ')}; ${follows}${dry}`)
    }
    case 'target':
      return `the device asks for ${formatSize(event.target)}`
    case 'inflated':
    case 'deflated': {
      const verb = event.event === 'inflated' ? 'given to the device' : 'taken back'
      const would = event.dryRun ? 'would be ' : ''
      return `${formatSize(event.by)} ${would}${verb}: ${formatSize(event.balloon)} of ${formatSize(event.target)}`
    }
    case 'pressure': {
      const { some, available } = event
      const waits = some === undefined ? '' : `, work waited ${some} % of the time`
      const room = available === undefined ? '' : `, ${formatSize(available)} available`
      return `memory is ${event.pressed ? 'short' : 'not short any more'}${waits}${room}`
    }
    case 'short':
      return `the device asks for ${formatSize(event.missing)} more than there is`
    case 'warning':
      return printable(event.message)
    case 'stopped':
      return `stopped: ${event.reason}`
  }
}
