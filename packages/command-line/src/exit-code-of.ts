import { ExitCode } from './exit-code.ts'

/** By the beginning of an error's code; the longest match counts. */
const byPrefix: Readonly<Record<string, ExitCode>> = {
  'usage.': ExitCode.USAGE,
  'locator.': ExitCode.USAGE,
  'locator.unsupported': ExitCode.UNAVAILABLE,
  'features.unknown': ExitCode.USAGE,
  'control.no-session': ExitCode.UNAVAILABLE,
  'control.unreachable': ExitCode.TEMPORARY,
  'control.ended': ExitCode.TEMPORARY,
  // Not there, not a device for us, or one that does not come to terms.
  'device.': ExitCode.UNAVAILABLE,
  'features.': ExitCode.UNAVAILABLE,
  'config.': ExitCode.UNAVAILABLE,
  'queue.': ExitCode.UNAVAILABLE,
  'transport.': ExitCode.UNAVAILABLE,
  'pci.': ExitCode.UNAVAILABLE,
  'pci.address': ExitCode.USAGE,
  // Not the address that was written, but the one the device takes.
  'pci.address-space': ExitCode.UNAVAILABLE,
  'pci.in-use': ExitCode.TEMPORARY,
  'pci.memory-locked': ExitCode.PERMISSION,
  'pci.permission': ExitCode.PERMISSION,
  'binding.': ExitCode.UNAVAILABLE,
  'binding.timeout': ExitCode.TEMPORARY,
  'takeover.default-route': ExitCode.NEEDS_FORCE,
  'takeover.stacked': ExitCode.NEEDS_FORCE,
  'takeover.namespace': ExitCode.NEEDS_FORCE,
  'takeover.permission': ExitCode.PERMISSION,
  'takeover.in-use': ExitCode.TEMPORARY,
  'takeover.group': ExitCode.UNAVAILABLE,
  'takeover.no-iommu': ExitCode.UNAVAILABLE,
  'takeover.not-network': ExitCode.UNAVAILABLE,
  'takeover.not-taken': ExitCode.UNAVAILABLE,
  'qemu.': ExitCode.UNAVAILABLE,
  'qmp.': ExitCode.UNAVAILABLE,
  'model.': ExitCode.UNAVAILABLE,
  'vhost-user.': ExitCode.UNAVAILABLE,
  'console.': ExitCode.UNAVAILABLE,
  // It was there and working; a new start resets it.
  'device.needs-reset': ExitCode.TEMPORARY,
  'device.reset-timeout': ExitCode.TEMPORARY,
  'queue.reset': ExitCode.TEMPORARY,
  'ring.': ExitCode.TEMPORARY,
  'net.': ExitCode.TEMPORARY,
  'memory.': ExitCode.TEMPORARY,
  'tap.': ExitCode.CANNOT_CREATE_TAP,
  'tap.gone': ExitCode.TEMPORARY,
  'tap.permission': ExitCode.PERMISSION,
}

const byErrno: Readonly<Record<string, ExitCode>> = {
  EPERM: ExitCode.PERMISSION,
  EACCES: ExitCode.PERMISSION,
  ENODEV: ExitCode.UNAVAILABLE,
  ENXIO: ExitCode.UNAVAILABLE,
  EAGAIN: ExitCode.TEMPORARY,
  EBUSY: ExitCode.TEMPORARY,
  EMFILE: ExitCode.TEMPORARY,
  ENFILE: ExitCode.TEMPORARY,
  ENOBUFS: ExitCode.TEMPORARY,
  ENOMEM: ExitCode.TEMPORARY,
  ENOSPC: ExitCode.TEMPORARY,
  ETIMEDOUT: ExitCode.TEMPORARY,
}

/** `error` and what caused it, outermost first; bounded, as a chain may bite its tail. */
export function causesOf(error: unknown): unknown[] {
  const chain = [error]
  while (chain.length < 8) {
    const last = chain.at(-1)
    if (!(last instanceof Error) || last.cause === undefined || last.cause === null) break
    chain.push(last.cause)
  }
  return chain
}

/** The `code` of an error of any layer, or undefined. */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

function exitCodeOfCode(code: string): ExitCode | undefined {
  if (Object.hasOwn(byErrno, code)) return byErrno[code]
  const prefix = Object.keys(byPrefix)
    .filter((candidate) => code.startsWith(candidate))
    .sort((a, b) => b.length - a.length)[0]
  return prefix === undefined ? undefined : byPrefix[prefix]
}

/**
 * The exit code for an error of any layer, by its `code`. A refused permission anywhere in its causes counts first, because that is
 * what the user has to change; then the outermost error with a known code.
 */
export function exitCodeOf(error: unknown): ExitCode {
  const known = causesOf(error)
    .map((cause) => exitCodeOfCode(codeOf(cause) ?? ''))
    .filter((code) => code !== undefined)
  if (known.includes(ExitCode.PERMISSION)) return ExitCode.PERMISSION
  return known[0] ?? ExitCode.ERROR
}
