import pc from 'picocolors'
import { renderSession } from '../render/session-tree.ts'
import type { DemoResult } from './demo-result.ts'

/** The demo's result for people. No final line feed. */
export function renderDemo(
  { ok, device, roundTrips, counters, violations, leakedBytes }: DemoResult,
  { color }: { readonly color: boolean },
): string {
  const { bold, green, red } = pc.createColors(color)
  const nameWidth = Math.max(...roundTrips.map(({ name }) => name.length))
  const counted = Object.entries(counters).filter(([, value]) => value > 0)
  const counterWidth = Math.max(...counted.map(([name]) => name.length))
  return [
    bold('The chain: a software device, and the driver on it'),
    renderSession(device, { color }),
    '',
    bold('Round trips'),
    ...roundTrips.map(({ name, sent, answered }) => {
      const score = `${answered} of ${sent} answered`
      return `  ${name.padEnd(nameWidth)}  ${sent === answered ? green(score) : red(score)}`
    }),
    '',
    bold('Counters of the driver'),
    ...counted.map(([name, value]) => `  ${name.padEnd(counterWidth)}  ${String(value).padStart(8)}`),
    '',
    bold('The device’s verdict'),
    ...(violations.length === 0
      ? ['  no rule of the specification broken']
      : violations.map((text) => `  ${red(text)}`)),
    leakedBytes === 0
      ? '  every byte of DMA memory given back'
      : `  ${red(`${leakedBytes} bytes of DMA memory not given back`)}`,
    '',
    ok ? green('All of it worked. Next: netd run --help') : red('Something did not work.'),
  ].join('\n')
}
