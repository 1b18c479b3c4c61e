import { type CommandIo, ExitCode, printable, printJson, printLine, renderTable } from '@virtio-ts/command-line'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ControlClient } from '../control/control-client.ts'
import { isLevel } from '../control/observable.ts'
import { connectSessions, nobodyRunning } from '../control/sessions.ts'

export interface StatsArguments {
  readonly name: string | undefined
  readonly watch: boolean
  readonly json: boolean
}

/** The counters of one session at one time. */
export interface StatsSample {
  readonly name: string
  /** Milliseconds since 1970. */
  readonly time: number
  readonly counters: Readonly<Record<string, number>>
}

const interval = 1000

async function take(clients: readonly ControlClient[]): Promise<StatsSample[]> {
  return Promise.all(
    clients.map(async (client) => ({ name: client.name, time: Date.now(), counters: await client.stats() })),
  )
}

/** Counters as `ethtool -S` has them; with an earlier sample also what came in a second since then. No final line feed. */
export function renderSample({ name, time, counters }: StatsSample, earlier?: StatsSample): string {
  const seconds = earlier ? Math.max((time - earlier.time) / 1000, 0.001) : 0
  const rows = Object.entries(counters).map(([key, value]) => {
    const rate = earlier && !isLevel(key) ? [`${Math.round((value - (earlier.counters[key] ?? 0)) / seconds)}/s`] : []
    return [`  ${printable(key)}:`, String(value), ...rate]
  })
  return `${printable(name)}\n${renderTable(rows, ['left', 'right', 'right'])}`
}

async function print(
  samples: readonly StatsSample[],
  earlier: readonly StatsSample[],
  { name, watch, json }: StatsArguments,
  io: CommandIo,
): Promise<void> {
  if (json && !watch) return printJson(io, name === undefined ? samples : samples[0])
  // On a terminal each round takes the place of the one before; anywhere else it follows it.
  if (watch && !json && (io.stdout as { isTTY?: boolean }).isTTY) io.stdout.write('\u001b[H\u001b[J')
  for (const sample of samples) {
    if (json) await printJson(io, sample)
    else
      await printLine(
        io,
        renderSample(
          sample,
          earlier.find((each) => each.name === sample.name),
        ),
      )
  }
}

/** `netd stats [NAME] [--watch]`. Watching ends with 0 when interrupted, with an error when a netd watched goes away. */
export async function stats(args: StatsArguments, io: CommandIo, directory?: string): Promise<number> {
  const clients = await connectSessions(args.name, directory)
  try {
    if (clients.length === 0) throw nobodyRunning(directory)
    let earlier: StatsSample[] = []
    for (;;) {
      const samples = await take(clients)
      await print(samples, earlier, args, io)
      if (!args.watch) return ExitCode.OK
      earlier = samples
      await sleep(interval, undefined, { signal: io.signal })
    }
  } finally {
    for (const client of clients) client.close()
  }
}
