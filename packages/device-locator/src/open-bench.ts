import { QemuBench } from '@virtio-ts/qemu'
import type { BenchPlan } from './device-kind.ts'
import type { OpenedDevice } from './opened-device.ts'
import { pciDevice } from './pci-device.ts'

export interface OpenedBench extends OpenedDevice {
  readonly bench: QemuBench
}

/** Starts a bench and takes its device; releasing it ends the bench. @throws QemuError */
export async function openBench({ options, functionId }: BenchPlan): Promise<OpenedBench> {
  const bench = await QemuBench.start(options)
  try {
    return { ...pciDevice(bench.function(functionId)), bench, release: () => bench.close() }
  } catch (error) {
    await bench.close()
    throw error
  }
}
