import { isVirtioError, VirtioError } from '@virtio-ts/spec'

/**
 * What a bus threw, in this layer's words: `device.gone` for `pci.gone`, any other code of the bus or its memory as it is, `transport.bus` for what has
 * no code. A VirtioError stays itself.
 */
export function toVirtioError(error: unknown, device: string): VirtioError {
  if (isVirtioError(error)) return error
  const code = codeOf(error)
  if (code === 'pci.gone') return goneError(device, error)
  const what = error instanceof Error ? error.message : String(error)
  return new VirtioError(code ?? 'transport.bus', `${device}: the bus failed: ${what}`, { device, cause: error })
}

/** No device answers any more, so nothing will write to memory either. */
export function goneError(device: string, cause?: unknown): VirtioError {
  return new VirtioError(
    'device.gone',
    `${device} no longer answers: it was unplugged, switched off, or the process that carried its bus ended; attach again once it is back`,
    { device, cause },
  )
}

function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  return typeof error.code === 'string' && /^(pci|memory)\./.test(error.code) ? error.code : undefined
}
