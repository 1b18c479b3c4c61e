import { invalidValue, type ParsedArguments } from '@virtio-ts/command-line'
import { checkSupported, type Locator, parseLocator } from '@virtio-ts/device-locator'
import type { BalloonLimits } from '../policy/decide.ts'
import { balloonDevice } from '../session/balloon-device.ts'
import { parseSize } from './parse-size.ts'

/** `balloond`, checked: everything in here is well formed. */
export interface BalloondArguments {
  readonly locator: Locator
  readonly dryRun: boolean
  /** Milliseconds between two decisions. */
  readonly interval: number
  readonly limits: BalloonLimits
  /** Directory of a cgroup. */
  readonly cgroup: string | undefined
  /** A file in the format of PSI. */
  readonly pressure: string | undefined
  /** Bytes kept as free memory. */
  readonly free: number
  readonly json: boolean
}

const PAGE = 4096
const MOST_PAGES = 0xffffffff

/** @throws CommandError `usage.*`, `locator.*` */
export function balloondArguments({ flags, values, positionals }: ParsedArguments): BalloondArguments {
  const locator = parseLocator(positionals[0] ?? '')
  checkSupported(balloonDevice, locator)
  const bytes = (name: string, otherwise: number): number => {
    const text = values.get(name)
    if (text === undefined) return otherwise
    const size = parseSize(text)
    if (size === undefined) throw invalidValue(name, text, 'it is a number of bytes, K, M, G or T', `--${name} 64M`)
    return size
  }
  const pages = (name: string, otherwise: number): number =>
    Math.min(MOST_PAGES, Math.floor(bytes(name, otherwise * PAGE) / PAGE))
  const limits: BalloonLimits = {
    min: pages('min', 0),
    max: pages('max', MOST_PAGES),
    step: pages('step', 65_536),
    reserve: bytes('reserve', 64 * 2 ** 20),
    high: decimal(values, 'high', 10, 0.01, 100),
    low: decimal(values, 'low', 1, 0, 100),
  }
  const text = (name: string): string => values.get(name) ?? ''
  if (limits.step === 0) throw invalidValue('step', text('step'), 'it is at least a page, 4K', '--step 64M')
  if (limits.min > limits.max) throw invalidValue('min', text('min'), 'it is more than --max', '--min 0')
  if (limits.low >= limits.high)
    throw invalidValue('low', String(limits.low), `it has to be below --high, ${limits.high}`, '--low 1 --high 10')
  return {
    locator,
    dryRun: flags.has('dry-run'),
    interval: Math.round(1000 * decimal(values, 'interval', 1, 0.05, 3600)),
    limits,
    cgroup: values.get('cgroup'),
    pressure: values.get('pressure'),
    free: Math.floor(bytes('free', 0) / 65_536) * 65_536,
    json: flags.has('json'),
  }
}

function decimal(
  values: ParsedArguments['values'],
  name: string,
  otherwise: number,
  least: number,
  most: number,
): number {
  const text = values.get(name)
  if (text === undefined) return otherwise
  const number = /^[0-9]{1,5}(\.[0-9]{1,3})?$/.test(text) ? Number(text) : Number.NaN
  if (!(number >= least && number <= most)) throw invalidValue(name, text, `it is a number from ${least} to ${most}`)
  return number
}
