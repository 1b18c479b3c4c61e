import { CommandError, type CommandIo, ExitCode, printJson, printMessage } from '@virtio-ts/command-line'
import type { CopyArguments, CopyEnd } from '../command-line/copy-arguments.ts'
import { type CopyResult, copyAll } from '../copy/copy-all.ts'
import type { CopySource, CopyTarget } from '../copy/copy-ends.ts'
import { deviceSource, deviceTarget } from '../copy/device-ends.ts'
import { openFileSource } from '../copy/file-source.ts'
import { openFileTarget } from '../copy/file-target.ts'
import { Progress } from '../copy/progress.ts'
import { withDisk } from '../disk/open-disk.ts'
import { formatSize } from '../disk/size.ts'

/** `blkd copy`: with `--json` one object when it is done. */
export async function copy(args: CopyArguments, io: CommandIo): Promise<number> {
  const begun = performance.now()
  const result = await withSource(args.from, io.signal, (source) =>
    withTarget(args, source.size, io.signal, (target) => run(args, source, target, io)),
  )
  const seconds = (performance.now() - begun) / 1000
  const [from, to] = args.names
  if (args.json) await printJson(io, { from, to, ...result, seconds })
  else {
    const { bytes, data, zeroes } = result
    const what = `${formatSize(bytes)}: ${formatSize(data)} of data, ${formatSize(zeroes)} of zeroes`
    printMessage(io, `copied ${from} to ${to}: ${what}, in ${seconds.toFixed(1)} s`)
  }
  return ExitCode.OK
}

async function run(
  { names }: CopyArguments,
  source: CopySource,
  target: CopyTarget,
  { signal, stderr }: CommandIo,
): Promise<CopyResult> {
  const progress = new Progress(stderr, source.size)
  let done = 0
  try {
    const result = await copyAll(source, target, signal, (bytes) => {
      done = bytes
      progress.show(bytes)
    })
    await target.finish()
    return result
  } catch (error) {
    const left = await target.abandon()
    if (!signal.aborted) {
      if (left === undefined) throw error
      throw new CommandError('copy.failed', `the copy broke off after ${done} of ${source.size} bytes`, {
        why: [error instanceof Error ? error.message : String(error), left],
        fix: 'mend that, and copy again',
        cause: error,
      })
    }
    // Whoever asked for a copy and gets exit code 0 would take it for complete.
    throw new CommandError('copy.interrupted', `interrupted after ${done} of ${source.size} bytes`, {
      why: left ?? `nothing of ${names[1]} was written or changed`,
      fix: 'copy again',
    })
  } finally {
    progress.end()
  }
}

async function withSource<T>(end: CopyEnd, signal: AbortSignal, use: (source: CopySource) => Promise<T>): Promise<T> {
  if ('device' in end) return withDisk(end.device, { readOnly: true, signal }, (driver) => use(deviceSource(driver)))
  const { source, close } = await openFileSource(end.file)
  try {
    return await use(source)
  } finally {
    await close()
  }
}

async function withTarget<T>(
  { to, names }: CopyArguments,
  size: number,
  signal: AbortSignal,
  use: (target: CopyTarget) => Promise<T>,
): Promise<T> {
  if ('device' in to)
    return withDisk(to.device, { readOnly: false, signal }, (driver) => use(deviceTarget(driver, names[1], size)))
  return use(await openFileTarget(to.file, size))
}
