import {
  codeOf,
  CommandError,
  type CommandIo,
  ExitCode,
  printJson,
  printMessage,
  writeTo,
} from '@virtio-ts/command-line'
import { once } from 'node:events'
import type { Readable, Writable } from 'node:stream'
import { finished } from 'node:stream/promises'
import { openCaptureOutput } from '../capture/open-capture-output.ts'
import { PcapngScanner } from '../capture/pcapng-scanner.ts'
import type { CaptureArguments } from '../command-line/capture-arguments.ts'
import { ControlClient } from '../control/control-client.ts'

/** How long the running netd, and our reader, may take to end a capture after they were asked to, in milliseconds. */
const endLimit = 3000

/** Where the capture goes, and how it ended: stdout is not ours to close, a file is. */
async function openOutput(args: CaptureArguments, io: CommandIo): Promise<Writable> {
  if (args.file !== '-') return openCaptureOutput(args.file, io.signal)
  if ((io.stdout as { isTTY?: boolean }).isTTY) {
    throw new CommandError('usage.terminal', 'a capture is not for a terminal, and stdout is one', {
      fix: `netd capture ${args.name} -w - | tcpdump -nr -`,
    })
  }
  return io.stdout
}

/** Moves bytes until the capture ends or its reader is gone. A connection that breaks is an end too: the scanner knows it was early. */
async function pump(bytes: Readable, output: Writable, scanner: PcapngScanner): Promise<void> {
  try {
    for await (const chunk of bytes as AsyncIterable<Buffer>) {
      scanner.push(chunk)
      await writeTo(output, chunk)
      if (output.destroyed) return
    }
  } catch (error) {
    if (error instanceof CommandError) throw error
  }
}

/** Resolves `endLimit` after the signal was aborted. */
async function tooLate(signal: AbortSignal, done: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, 'abort', { signal: done })
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, endLimit)
    done.addEventListener('abort', () => clearTimeout(timer))
  })
}

/** `netd capture NAME -w FILE`. Ends with 0 when its count is reached, at Ctrl-C, when the reader went away, when netd stopped. */
export async function capture(args: CaptureArguments, io: CommandIo, directory?: string): Promise<number> {
  const client = await ControlClient.connect(args.name, directory)
  const done = new AbortController()
  const scanner = new PcapngScanner()
  let failure: Error | undefined
  let output: Writable | undefined
  try {
    const opened = await openOutput(args, io)
    output = opened
    // It may break while no packet comes that would notice.
    const broken = new Promise<void>((resolve) => {
      opened.on('error', (error) => {
        failure = error
        resolve()
      })
    })
    const { count, snaplen } = args
    const { bytes, stop } = await client.capture({
      ...(count === undefined ? {} : { count }),
      ...(snaplen === undefined ? {} : { snaplen }),
    })
    printMessage(io, `capturing ${args.name}; Ctrl-C ends it`)
    if (io.signal.aborted) stop()
    else io.signal.addEventListener('abort', stop, { once: true })
    await Promise.race([pump(bytes, opened, scanner), broken, tooLate(io.signal, done.signal).catch(() => {})])
    if (opened !== io.stdout && !opened.destroyed) await finished(opened.end())
  } catch (error) {
    failure ??= error as Error
  } finally {
    done.abort()
    client.close()
    if (output !== io.stdout) output?.destroy()
  }
  return report(args, io, scanner, failure)
}

async function report(
  args: CaptureArguments,
  io: CommandIo,
  scanner: PcapngScanner,
  failure: Error | undefined,
): Promise<number> {
  const { packets, dropped } = scanner
  const readerLeft = codeOf(failure) === 'EPIPE' || io.signal.reason === 'EPIPE'
  if (failure && !readerLeft) {
    if (failure instanceof CommandError || io.signal.aborted) throw failure
    throw new CommandError('capture.output', `cannot write the capture to ${args.file}`, {
      cause: failure,
      why: `${packets} packets had arrived`,
    })
  }
  if (!readerLeft && !scanner.complete) {
    throw new CommandError('control.ended', `the capture of ${args.name} broke off after ${packets} packets`, {
      why: 'netd went away without ending it',
      fix: `netd show ${args.name}`,
    })
  }
  if (args.json && args.file !== '-')
    await printJson(io, { name: args.name, file: args.file, packets, dropped: dropped ?? 0 })
  else printMessage(io, `${packets} ${packets === 1 ? 'packet' : 'packets'} captured, ${dropped ?? 0} dropped`)
  return ExitCode.OK
}
