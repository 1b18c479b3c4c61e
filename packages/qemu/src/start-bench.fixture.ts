import { onTestFinished } from 'vitest'
import { QemuBench } from './qemu-bench.ts'
import type { QemuBenchOptions } from './qemu-bench-options.ts'

/** A bench that ends with the test, however that ends. */
export async function startBench(options: QemuBenchOptions): Promise<QemuBench> {
  const bench = await QemuBench.start(options)
  onTestFinished(() => bench.close())
  return bench
}
