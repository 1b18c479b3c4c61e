import { CommandError, type ParsedArguments, parseNumber } from '@virtio-ts/command-line'
import type { Locator } from '@virtio-ts/device-locator'
import { parseBlockLocator, parseBytes } from './option-values.ts'

/** `blkd bench`, checked. */
export interface BenchArguments {
  readonly locator: Locator
  readonly write: boolean
  readonly sequential: boolean
  /** Requests under way at a time. */
  readonly depth: number
  /** Bytes of a request; undefined: 4096, or the block size where that is larger. */
  readonly length: number | undefined
  /** Seconds of the same load before it, which are not counted. */
  readonly warmUp: number
  readonly seconds: number
  readonly queues: number | undefined
  readonly json: boolean
}

/** @throws CommandError `usage.*`, `locator.*` */
export function benchArguments({ flags, values, positionals }: ParsedArguments): BenchArguments {
  const given = <T>(option: string, parse: (text: string) => T): T | undefined => {
    const text = values.get(option)
    return text === undefined ? undefined : parse(text)
  }
  const write = flags.has('write-destroys-data')
  if (write && flags.has('read')) {
    throw new CommandError('usage.invalid-value', '--read and --write-destroys-data exclude each other', {
      fix: 'one after the other: two runs',
    })
  }
  return {
    locator: parseBlockLocator(positionals[0] ?? ''),
    write,
    sequential: flags.has('sequential'),
    depth: given('depth', (text) => parseNumber('depth', text, 1, 1024)) ?? 32,
    length: given('length', (text) => parseBytes('length', text, 512, 2 ** 24)),
    warmUp: given('warm-up', (text) => parseNumber('warm-up', text, 0, 3600)) ?? 0,
    seconds: given('seconds', (text) => parseNumber('seconds', text, 1, 3600)) ?? 5,
    queues: given('queues', (text) => parseNumber('queues', text, 1, 65535)),
    json: flags.has('json'),
  }
}
