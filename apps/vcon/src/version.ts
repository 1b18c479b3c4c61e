import { packageVersion } from '@virtio-ts/command-line'

/** The version of this package. */
export function vconVersion(): string {
  return packageVersion(import.meta.url)
}
