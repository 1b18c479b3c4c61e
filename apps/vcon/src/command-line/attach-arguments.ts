import { CommandError, type ParsedArguments } from '@virtio-ts/command-line'
import type { Locator } from '@virtio-ts/device-locator'
import { parseConsoleLocator, parseEscape, parsePort, parseWait } from './option-values.ts'

/** `vcon attach`, checked: everything in here is well formed. */
export interface AttachArguments {
  readonly locator: Locator
  /** Number or name; undefined for the first console. */
  readonly port: number | string | undefined
  /** Where a link to the terminal is to be. */
  readonly link: string | undefined
  /** The byte that leaves. */
  readonly escape: number | undefined
  /** Milliseconds of silence after the end of a piped input. */
  readonly wait: number
  readonly json: boolean
}

/** @throws CommandError `usage.*`, `locator.*` */
export function attachArguments({ flags, values, positionals }: ParsedArguments): AttachArguments {
  const port = values.get('port')
  const link = values.get('link')
  const unused = ['escape', 'wait'].find((name) => link !== undefined && values.has(name))
  if (unused !== undefined)
    throw new CommandError('usage.contradiction', `--${unused} and --link do not go together`, {
      why: 'with --link this terminal and standard input are not used',
      fix: 'vcon attach --help',
    })
  return {
    locator: parseConsoleLocator(positionals[0] ?? ''),
    port: port === undefined ? undefined : parsePort(port),
    link,
    escape: parseEscape(values.get('escape') ?? '^]'),
    wait: parseWait(values.get('wait') ?? '0.5'),
    json: flags.has('json'),
  }
}
