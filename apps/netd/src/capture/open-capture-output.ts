import { codeOf, CommandError } from '@virtio-ts/command-line'
import { constants, createWriteStream, openSync } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { Socket } from 'node:net'
import type { Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'

/** How often a FIFO is tried until somebody reads it, in milliseconds. */
const retryInterval = 50

async function openFifo(path: string, signal: AbortSignal): Promise<Writable> {
  for (;;) {
    try {
      // Blocking open and blocking writes would sit in the thread pool, and a stuck thread there keeps the process from exiting.
      const fd = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK)
      return new Socket({ fd, readable: false, writable: true })
    } catch (error) {
      if (codeOf(error) !== 'ENXIO') throw error
    }
    await sleep(retryInterval, undefined, { signal })
  }
}

/**
 * Opens where a capture goes: a file, replaced if it is there, or a FIFO, once somebody reads it.
 * @throws CommandError `capture.output`; what the signal was aborted with, when it is aborted while waiting for a FIFO's reader
 */
export async function openCaptureOutput(path: string, signal: AbortSignal): Promise<Writable> {
  try {
    const isFifo = await stat(path).then(
      (found) => found.isFIFO(),
      () => false,
    )
    if (isFifo) return await openFifo(path, signal)
    return createWriteStream(path, { fd: await open(path, 'w') })
  } catch (error) {
    if (signal.aborted) throw error
    throw new CommandError('capture.output', `cannot write the capture to ${path}`, {
      cause: error,
      fix: 'choose another file, or -w - for stdout',
    })
  }
}
