import { DeviceStatus, featureNames, isVirtioError, ReservedFeature, VirtioError } from '@virtio-ts/spec'
import { chooseFeatures } from './choose-features.ts'
import { DeviceConfig } from './device-config.ts'
import type { DeviceMemory } from './device-memory.ts'
import type { DriverSpec } from './driver-spec.ts'
import { InitializedDevice } from './initialized-device.ts'
import { NegotiatedFeatures } from './negotiated-features.ts'
import { type NamedQueue, planQueues, setUpQueue } from './set-up-queues.ts'
import type { Transport } from './transport.ts'
import type { InitializeOptions, VirtioDevice } from './virtio-device.ts'

const { ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, FAILED } = DeviceStatus

/** Initialisations so far, by location: late completions of an older one must never surface. */
const generations = new Map<string, number>()

/**
 * The one initialisation sequence, for every device on every bus. Takes the transport over: it is closed by the device's
 * `close()`, or here when a step fails.
 * @see VIRTIO 1.3 § 3.1.1 "Driver Requirements: Device Initialization"
 * @throws VirtioError of the step that failed; the device has FAILED set by then
 */
export async function initialize<Feature extends string, Queue extends string>(
  transport: Transport,
  spec: DriverSpec<Feature, Queue>,
  options: InitializeOptions = {},
): Promise<VirtioDevice<Feature, Queue>> {
  const generation = (generations.get(transport.location) ?? 0) + 1
  generations.set(transport.location, generation)
  const config = new DeviceConfig(transport)
  const queues: NamedQueue[] = []
  let status = 0
  const addStatus = (bit: number): Promise<void> => transport.setStatus((status |= bit))
  try {
    checkArguments(transport, spec, options)
    // 1. Reset the device.
    await transport.reset()
    // 2. Set the ACKNOWLEDGE status bit: the driver has noticed the device.
    await addStatus(ACKNOWLEDGE)
    // 3. Set the DRIVER status bit: the driver knows how to drive the device.
    await addStatus(DRIVER)
    // 4. Read the feature bits, write the subset understood; configuration fields may be read before accepting.
    const features = await negotiate(transport, spec, options, config)
    if (!transport.legacy) {
      // 5. Set FEATURES_OK; 6. re-read the status: it stands only if the device supports this subset.
      await addStatus(FEATURES_OK)
      await checkFeaturesOk(transport, spec, features.bits)
    }
    // 7. Device-specific set-up: notifications first (a legacy device takes vectors only while MSI-X is on), then queues.
    const plan = await planQueues(spec, features, config)
    const count = Math.max(0, ...plan.map(({ index }) => index + 1))
    const interrupts = await transport.setUpInterrupts(count, options.interrupts ?? 'auto')
    for (const queue of plan) await setUpQueue(transport, features, queue, options, generation, queues)
    await spec.prepare?.(features, config)
    const device = new InitializedDevice<Feature, Queue>({
      transport,
      features,
      config,
      interrupts,
      generation,
      queues,
      tearDown,
    })
    // 8. Set DRIVER_OK: the device is live; only now does anyone get hold of a queue.
    await addStatus(DRIVER_OK)
    return device
  } catch (error) {
    await giveUp(transport, queues, status)
    throw error
  }
}

/**
 * The mirror of `initialize`: reset, wait for the device's word, and only then give memory back. Memory of a device whose
 * reset was not confirmed is set aside for good.
 * @see VIRTIO 1.3 § 3.3.1 "Driver Requirements: Device Cleanup"
 * @throws VirtioError `device.reset-timeout` after everything else has been let go
 */
async function tearDown(transport: Transport, queues: readonly NamedQueue[], memory: DeviceMemory): Promise<void> {
  const unconfirmed = await confirmReset(transport)
  for (const { queue } of queues) unconfirmed ? queue.quarantine() : queue.release()
  unconfirmed ? memory.quarantine() : memory.release()
  await transport.close()
  if (unconfirmed) throw unconfirmed
}

async function giveUp(transport: Transport, queues: readonly NamedQueue[], status: number): Promise<void> {
  try {
    // A device that knows a queue's address must be reset before that memory goes.
    if (queues.length > 0) await tearDownQueues(transport, queues)
    await transport.setStatus(status | FAILED)
  } catch {
    // The error that brought us here says more than one of a device that no longer answers.
  } finally {
    await transport.close()
  }
}

async function tearDownQueues(transport: Transport, queues: readonly NamedQueue[]): Promise<void> {
  const unconfirmed = await confirmReset(transport)
  for (const { queue } of queues) unconfirmed ? queue.quarantine() : queue.release()
}

/** @returns the reason when the reset was not confirmed; a device that is gone counts as confirmed: nothing writes any more */
async function confirmReset(transport: Transport): Promise<VirtioError | undefined> {
  try {
    await transport.reset()
    return undefined
  } catch (error) {
    if (!isVirtioError(error)) throw error
    return error.code === 'device.gone' ? undefined : error
  }
}

function checkArguments(transport: Transport, spec: DriverSpec, options: InitializeOptions): void {
  const { queueSize } = options
  if (queueSize !== undefined && !(queueSize >= 1 && queueSize <= 32768 && Number.isInteger(Math.log2(queueSize)))) {
    throw new RangeError(`queueSize ${queueSize} is not a power of two from 1 to 32768`)
  }
  if (transport.deviceType === spec.deviceType) return
  throw new VirtioError(
    'device.wrong-type',
    `${transport.location} has virtio device ID ${transport.deviceType}; the ${spec.name} driver drives ${spec.deviceType}`,
    { device: transport.location },
  )
}

async function negotiate<Feature extends string, Queue extends string>(
  transport: Transport,
  spec: DriverSpec<Feature, Queue>,
  options: InitializeOptions,
  config: DeviceConfig,
): Promise<NegotiatedFeatures<Feature>> {
  const offered = await transport.deviceFeatures()
  const without = [...(options.withoutFeatures ?? [])]
  let bits = chooseFeatures(transport, spec, offered, without)
  // Written before any configuration is read: a transitional device shows the modern layout only once VERSION_1 is accepted.
  await transport.acceptFeatures(bits)
  const rejected = await spec.validate?.(new NegotiatedFeatures(bits, spec.features, offered), config)
  if (rejected !== undefined && rejected.length > 0) {
    bits = chooseFeatures(transport, spec, offered, [...without, ...rejected])
    await transport.acceptFeatures(bits)
  }
  return new NegotiatedFeatures(bits, spec.features, offered)
}

async function checkFeaturesOk(transport: Transport, spec: DriverSpec, bits: bigint): Promise<void> {
  if ((await transport.status()) & FEATURES_OK) return
  throw new VirtioError(
    'features.refused',
    `${transport.location} refused the features ${featureNames(bits, spec.features, ReservedFeature).join(' ')}: ` +
      'FEATURES_OK did not stand; leave some out (--features -NAME) to find the one it objects to',
    { device: transport.location, detail: { features: `0x${bits.toString(16)}` } },
  )
}
