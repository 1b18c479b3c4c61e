import { resolve } from 'node:path'
import { type CommandIo, claimSocket, ExitCode, printJson, printMessage } from '@virtio-ts/command-line'
import { formatLocator, openDevice } from '@virtio-ts/device-locator'
import { NbdServer } from '@virtio-ts/nbd'
import type { ServeArguments } from '../command-line/serve-arguments.ts'
import { blockDevice } from '../disk/block-device.ts'
import { blockExport, isReadOnly } from '../disk/block-export.ts'
import { Disk } from '../disk/disk.ts'
import { reachableSize } from '../disk/unaligned.ts'
import { nbdUri } from '../serve/nbd-uri.ts'
import { eventText, type ServeEvent } from '../serve/serve-event.ts'

/** Longest time that requests under way get to end, and then the last flush. */
const patience = 10_000

/**
 * `blkd serve`: serves a device until a signal comes or the device is gone for good.
 * @returns the exit code; errors of the start, and what ended it, are thrown
 */
export async function serve(args: ServeArguments, io: CommandIo): Promise<number> {
  const report = (event: ServeEvent): void => {
    if (args.json) void printJson(io, event)
    else printMessage(io, eventText(event))
  }
  const device = await openDevice(blockDevice(args), args.locator, io.signal)
  let disk: Disk
  try {
    disk = await Disk.open(device, { onEvent: report }, io.signal)
  } catch (error) {
    await device.release()
    throw error
  }
  let failure: Error | undefined
  try {
    failure = await serveDisk(disk, args, io.signal, report)
  } finally {
    await disk.stop(patience).catch((error: Error) => {
      failure ??= error
    })
  }
  report({ event: 'stopped', reason: failure ? failure.message : String(io.signal.reason) })
  if (failure === undefined) return ExitCode.OK
  throw failure
}

/** @returns what ended it, or undefined when a signal did */
async function serveDisk(
  disk: Disk,
  { locator, path, name, readOnly }: ServeArguments,
  signal: AbortSignal,
  report: (event: ServeEvent) => void,
): Promise<Error | undefined> {
  const device = formatLocator(locator)
  const served = blockExport(disk, { name, readOnly, description: device })
  const nbd = new NbdServer({
    exports: [served],
    onConnect: (client) => report({ event: 'connected', client }),
    onDisconnect: (client, violation) =>
      report({ event: 'disconnected', client, ...(violation && { violation: violation.message }) }),
  })
  const release = await claimSocket(nbd.server, path)
  // The second signal ends the process where it stands: the socket goes all the same.
  process.once('exit', release)
  try {
    const { features, transport, vectors } = disk.driver.describe()
    const { blockSize, cache } = disk.driver
    report({
      event: 'ready',
      device,
      nbd: `unix:${path}`,
      uri: nbdUri(resolve(path), name),
      export: name,
      size: reachableSize(disk.driver),
      blockSize,
      readOnly: readOnly || isReadOnly(disk.driver),
      cache,
      features,
      transport,
      vectors,
    })
    return await Promise.race([disk.ended, aborted(signal)])
  } finally {
    release()
    process.off('exit', release)
    await nbd.close(patience)
  }
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined)
    else signal.addEventListener('abort', () => resolve(undefined), { once: true })
  })
}
