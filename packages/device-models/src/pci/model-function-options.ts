import type { DmaAllocator } from '@virtio-ts/memory'
import type { ReservedFeatureName } from '@virtio-ts/spec'
import type { DeviceProfile } from '../device-profile.ts'

export interface ModelFunctionOptions {
  /**
   * `modern`: a non-transitional device; `legacy`: one from before the specification, without capabilities; `transitional`: both.
   * @defaultValue 'modern'
   */
  readonly interface?: 'modern' | 'legacy' | 'transitional'
  /** Entries of the MSI-X table, up to 2048; false or 0 for none. @defaultValue one for each queue and one for configuration changes */
  readonly msix?: number | false
  /** Whether the function has an INTx line. @defaultValue true */
  readonly intx?: boolean
  /** notify_off_multiplier: 0, or a power of two from 2 on. @defaultValue 4 */
  readonly notifyOffMultiplier?: number
  /** Places the virtio structures in I/O BAR 2, as some devices do. @defaultValue false: memory */
  readonly capsInIoBar?: boolean
  /** Index of the memory BAR for the virtio structures. @defaultValue 4 */
  readonly capsBar?: number
  /** Whether the legacy registers make room for the two vector registers while MSI-X is enabled. @defaultValue true */
  readonly legacyVectorRegisters?: boolean
  /** Memory that the driver is to use. @defaultValue ordinary memory of this process */
  readonly dma?: DmaAllocator
  /** @defaultValue '0000:00:04.0' */
  readonly address?: string
  /** Ring and transport features to offer (true) or not (false), different from the default. */
  readonly ringFeatures?: Readonly<Partial<Record<ReservedFeatureName, boolean>>>
  /** More feature bits to offer: e.g. bits that nothing defines. */
  readonly extraFeatures?: bigint
  /**
   * When the device works on a notification: `immediate` inside it, so that a driver which polls with the event loop blocked makes
   * progress; `deferred` on the next turn of the event loop. @defaultValue 'immediate'
   */
  readonly execution?: 'immediate' | 'deferred'
  /** How the device behaves. @defaultValue `honest()` */
  readonly profile?: DeviceProfile
  /** PCI class code, if not the model's. */
  readonly classCode?: number
  /** Whether the function can be reset through configuration space. @defaultValue true */
  readonly functionReset?: boolean
}
