import type { Transport } from '@virtio-ts/core'
import { ConsoleConfig, ConsoleFeature, DeviceType, hasFeature, VirtioError } from '@virtio-ts/spec'

/**
 * Writes one character without queues, features or initialisation: for the moment in which nothing else works. The transport stays its
 * owner's, before, while and after a driver uses it.
 *
 * Rejects with VirtioError `console.no-emergency-write` where the device has no such thing, and with what the transport fails with.
 * @param byte 0 to 255
 * @throws RangeError for any other
 * @see VIRTIO 1.3 § 5.3.5 "Device Initialization"
 */
export async function emergencyWrite(transport: Transport, byte: number): Promise<void> {
  if (!Number.isInteger(byte) || byte < 0 || byte > 0xff) throw new RangeError(`${byte} is no byte`)
  const { location, deviceType } = transport
  const offered =
    deviceType === DeviceType.CONSOLE && hasFeature(await transport.deviceFeatures(), ConsoleFeature.EMERG_WRITE)
  if (!offered) {
    throw new VirtioError(
      'console.no-emergency-write',
      `${location} does not offer EMERG_WRITE: write to a port of an initialised console instead`,
      { device: location },
    )
  }
  await transport.writeConfig(ConsoleConfig.EMERG_WR, Uint8Array.of(byte, 0, 0, 0))
}
