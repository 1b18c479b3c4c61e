import { CommandError, type ParsedArguments } from '@virtio-ts/command-line'
import type { Locator } from '@virtio-ts/device-locator'
import { parseBlockLocator, parseName, parseNbd } from './option-values.ts'

/** `blkd serve`, checked. */
export interface ServeArguments {
  readonly locator: Locator
  /** Path of the socket to listen on. */
  readonly path: string
  /** Of the export; clients may leave it out all the same. */
  readonly name: string
  readonly readOnly: boolean
  readonly json: boolean
}

/** @throws CommandError `usage.*`, `locator.*` */
export function serveArguments({ flags, values, positionals }: ParsedArguments): ServeArguments {
  const nbd = values.get('nbd')
  const name = values.get('name')
  if (nbd === undefined) {
    throw new CommandError('usage.missing-option', 'blkd serve needs --nbd: where clients are to connect', {
      fix: `blkd serve ${positionals[0] ?? 'LOCATOR'} --nbd unix:/run/disk.sock`,
    })
  }
  return {
    locator: parseBlockLocator(positionals[0] ?? ''),
    path: parseNbd(nbd),
    name: name === undefined ? '' : parseName(name),
    readOnly: flags.has('read-only'),
    json: flags.has('json'),
  }
}
