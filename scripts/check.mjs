// `npm run check`: everything that can be said about the code without running it. Each check counts as one test.
//   node scripts/check.mjs [--json FILE] [NAME ...]
import { writeFileSync } from 'node:fs'
import { run } from './run-quietly.mjs'

const script = (name) => ['node', `scripts/check-${name}.mjs`]
const sources = [
  'packages',
  'apps',
  'test',
  'scripts',
  'bench',
  'examples',
  'vitest.config.ts',
  '.dependency-cruiser.mjs',
]

const checks = {
  types: ['tsc', '-b'],
  'test-types': ['tsc', '-p', 'tsconfig.tests.json'],
  lint: ['oxlint', '--deny-warnings', ...sources],
  format: ['biome', 'format', '--max-diagnostics=200', '.'],
  'layers-dependencies': script('dependencies'),
  'layers-boundaries': script('boundaries'),
  'layers-exports': script('exports'),
  'layers-imports': script('imports'),
  cycles: script('cycles'),
  structure: script('structure'),
  names: script('names'),
  citations: script('citations'),
  ledger: script('ledger'),
  errors: script('errors'),
  examples: script('examples'),
  links: script('links'),
  'unused-code': ['knip', '--no-progress'],
  versions: ['sherif', '--fail-on-warnings'],
  lockfile: ['node', 'scripts/complete-lockfile.mjs', '--check'],
}

const args = process.argv.slice(2)
const report = args[0] === '--json' ? args.splice(0, 2)[1] : undefined
const unknown = args.filter((name) => checks[name] === undefined)
if (unknown.length > 0) {
  console.error(`no such check: ${unknown.join(', ')}\n  there are: ${Object.keys(checks).join(', ')}`)
  process.exit(2)
}

const waiting = args.length > 0 ? args : Object.keys(checks)
const results = []
// The type-aware lint rules read what the type check emits, so that comes first, and alone.
const first = waiting.indexOf('types')
if (first >= 0) await check(...waiting.splice(first, 1))
await Promise.all([worker(), worker()])

for (const { name, output } of results.filter(({ passed }) => !passed)) console.error(`\n--- ${name}\n${output.trim()}`)
if (report !== undefined) writeFileSync(report, JSON.stringify(results))
process.exitCode = results.every(({ passed }) => passed) ? 0 : 1

async function worker() {
  for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) await check(name)
}

async function check(name) {
  const [command, ...rest] = checks[name]
  const { status, output, seconds } = await run(command, rest)
  results.push({ name, passed: status === 0, output })
  console.error(`${status === 0 ? 'ok    ' : 'FAILED'} ${name} (${seconds.toFixed(1)} s)`)
}
