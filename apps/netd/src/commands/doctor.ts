import { type CommandIo, ExitCode, printable, printJson, printLine } from '@virtio-ts/command-line'
import pc from 'picocolors'
import type { CheckResult } from '../doctor/check.ts'
import { examine } from '../doctor/examine.ts'
import type { Machine } from '../doctor/machine.ts'

function renderCheck({ status, summary, fix }: CheckResult, color: boolean): string {
  const colors = pc.createColors(color)
  const paint = { pass: colors.green, warn: colors.yellow, fail: colors.red }[status]
  const lines = [`${paint(status)}  ${printable(summary)}`]
  if (fix !== undefined) lines.push(`      fix: ${fix}`)
  return lines.join('\n')
}

/** `netd doctor`: 0 when no check fails, 1 otherwise. */
export async function doctor({ json }: { readonly json: boolean }, io: CommandIo, machine?: Machine): Promise<number> {
  const results = await examine(machine)
  const failed = results.filter(({ status }) => status === 'fail').length
  if (json) await printJson(io, { ok: failed === 0, checks: results })
  else for (const result of results) await printLine(io, renderCheck(result, io.color))
  return failed === 0 ? ExitCode.OK : ExitCode.ERROR
}
