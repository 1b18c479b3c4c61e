import { CommandError, type ParsedArguments } from '@virtio-ts/command-line'

/** `netd capture`, checked. */
export interface CaptureArguments {
  readonly name: string
  /** Path, or `-` for stdout. */
  readonly file: string
  readonly count: number | undefined
  readonly snaplen: number | undefined
  readonly json: boolean
}

function parseCount(option: string, text: string | undefined, max: number): number | undefined {
  if (text === undefined) return undefined
  const number = /^[0-9]{1,10}$/.test(text) ? Number(text) : Number.NaN
  if (number >= 1 && number <= max) return number
  throw new CommandError('usage.invalid-value', `--${option} ${JSON.stringify(text.slice(0, 60))} cannot be used`, {
    why: `it is a whole number from 1 to ${max}`,
    fix: 'netd capture --help',
  })
}

/** @throws CommandError `usage.*` */
export function captureArguments({ flags, values, positionals }: ParsedArguments): CaptureArguments {
  const file = values.get('write')
  if (file === undefined) {
    throw new CommandError('usage.missing-value', 'netd capture needs -w FILE, or -w - for stdout', {
      fix: `netd capture ${positionals[0]} -w - | tcpdump -nr -`,
    })
  }
  return {
    name: positionals[0] ?? '',
    file,
    count: parseCount('count', values.get('count'), 2 ** 32),
    snaplen: parseCount('snaplen', values.get('snaplen'), 262144),
    json: flags.has('json'),
  }
}
