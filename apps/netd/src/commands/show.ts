import { type CommandIo, ExitCode, printJson, printLine, printMessage } from '@virtio-ts/command-line'
import type { RunningDescription } from '../control/protocol.ts'
import { connectSessions } from '../control/sessions.ts'
import { renderHeading, renderSession } from '../render/session-tree.ts'

export interface ShowArguments {
  readonly name: string | undefined
  readonly json: boolean
}

/** Columns of the terminal, or undefined where there is none. */
function widthOf(io: CommandIo): number | undefined {
  return (io.stdout as { columns?: number }).columns
}

/** `netd show [NAME]`: with `--json` one object with a name, an array without. */
export async function show({ name, json }: ShowArguments, io: CommandIo, directory?: string): Promise<number> {
  const clients = await connectSessions(name, directory)
  const descriptions: RunningDescription[] = []
  try {
    for (const client of clients) descriptions.push(await client.describe())
  } finally {
    for (const client of clients) client.close()
  }
  if (json) await printJson(io, name === undefined ? descriptions : descriptions[0])
  else if (descriptions.length === 0) printMessage(io, 'no netd of this user is running; those of root need sudo')
  const width = widthOf(io)
  for (const [index, description] of json ? [] : descriptions.entries()) {
    if (index > 0) await printLine(io, '')
    await printLine(io, renderHeading(description, { color: io.color }))
    await printLine(io, renderSession(description, { color: io.color, ...(width === undefined ? {} : { width }) }))
  }
  return ExitCode.OK
}
