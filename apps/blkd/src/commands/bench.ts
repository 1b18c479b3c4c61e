import { CommandError, type CommandIo, ExitCode, printJson, printLine, renderTable } from '@virtio-ts/command-line'
import { formatLocator } from '@virtio-ts/device-locator'
import type { BlockDriver } from '@virtio-ts/driver-block'
import { type Measured, measure } from '../bench/measure.ts'
import type { BenchArguments } from '../command-line/bench-arguments.ts'
import { withDisk } from '../disk/open-disk.ts'
import { formatSize } from '../disk/size.ts'

const DEFAULT_LENGTH = 4096

/** `blkd bench`: with `--json` one object. */
export function bench(args: BenchArguments, io: CommandIo): Promise<number> {
  const { locator, write, sequential, depth, queues } = args
  const options = {
    readOnly: !write,
    signal: io.signal,
    maxInFlight: depth,
    ...(queues === undefined ? {} : { maxQueues: queues }),
  }
  return withDisk(locator, options, async (driver) => {
    const length = lengthOf(args, driver)
    const how = { write, sequential, depth, length }
    if (args.warmUp > 0) await measure(driver, { ...how, milliseconds: args.warmUp * 1000 }, io.signal)
    const measured = await measure(driver, { ...how, milliseconds: args.seconds * 1000 }, io.signal)
    const device = formatLocator(locator)
    if (args.json) await printJson(io, { device, ...how, ...measured })
    else await printLine(io, render(device, args, length, measured))
    return ExitCode.OK
  })
}

function lengthOf({ length, write }: BenchArguments, driver: BlockDriver): number {
  const { blockSize, capacity } = driver
  const chosen = length ?? Math.max(DEFAULT_LENGTH, blockSize)
  if (write && driver.readOnly)
    throw new CommandError('bench.read-only', 'the device is read-only: it cannot be written')
  if (chosen % blockSize === 0 && chosen <= capacity) return chosen
  throw new CommandError('bench.length', `requests of ${chosen} bytes do not suit this device`, {
    why: `it has ${capacity} bytes, in blocks of ${blockSize}`,
    fix: `--length ${blockSize}`,
  })
}

function render(
  device: string,
  { write, sequential, depth }: BenchArguments,
  length: number,
  measured: Measured,
): string {
  const { requests, seconds, iops, bytesPerSecond, latency } = measured
  const what = `${sequential ? 'sequential' : 'random'} ${write ? 'writes' : 'reads'} of ${formatSize(length)}`
  return renderTable([
    ['device', device],
    ['load', `${what}, ${depth} at a time, ${seconds.toFixed(1)} s, ${requests} requests`],
    ['rate', `${iops} a second, ${formatSize(bytesPerSecond)}/s`],
    ['latency', `mean ${latency.mean} µs, 50 % ${latency.p50}, 90 % ${latency.p90}, 99 % ${latency.p99}`],
    ['', `99.9 % ${latency.p999}, longest ${latency.max}`],
  ])
}
