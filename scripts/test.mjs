// `npm test`: installs what is needed, then checks, build, packages, unit and system tests. The last line is the count:
//   N passed, N failed
// Every check, the build and every package inspection count as one test each.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { countTests } from './count-tests.mjs'
import { installDependencies } from './install-dependencies.mjs'
import { installSystemPackages } from './install-system-packages.mjs'
import { prepareGuest } from './prepare-guest.mjs'
import { run } from './run-quietly.mjs'

const total = { passed: 0, failed: 0 }
const failures = []
const skipped = []
const scratch = mkdtempSync(join(tmpdir(), 'virtio-ts-test-'))

try {
  await installSystemPackages()
  await installDependencies()
  await counted(
    'checks',
    'node',
    ['scripts/check.mjs', '--json', join(scratch, 'checks.json')],
    readResults('checks.json'),
  )
  await counted('build', 'turbo', ['run', 'build', '--output-logs=errors-only', '--ui=stream'])
  await counted(
    'packages',
    'node',
    ['scripts/check-packages.mjs', '--json', join(scratch, 'packages.json')],
    readResults('packages.json'),
  )
  await prepareGuest()
  await vitest('unit', ['--project', 'unit'])
  // One file at a time: they share network namespaces, interfaces and two cores.
  await vitest('system', ['--project', 'system', '--no-file-parallelism'])
  // Two at a time: a guest waits for its own disk, network and timers much of the time.
  await vitest('guest', ['--project', 'guest'])
} catch (error) {
  failures.push(`npm test: ${error.stack ?? error}`)
  total.failed += 1
} finally {
  rmSync(scratch, { recursive: true, force: true })
}

for (const failure of failures) console.log(`FAILED  ${failure}`)
for (const suite of skipped) console.log(`SKIPPED ${suite}`)
if (skipped.length > 0 && process.env.CI === 'true') total.failed += 1
console.log(`${total.passed} passed, ${total.failed} failed`)
process.exitCode = total.failed === 0 ? 0 : 1

/** Runs a command; `results` reads what it wrote, or else it counts as one test. */
async function counted(what, command, args, results = () => undefined) {
  console.error(`== ${what}`)
  const { status, output } = await run(command, args)
  if (status !== 0) process.stderr.write(output)
  add(results() ?? [{ name: what, passed: status === 0 }], what, status)
}

async function vitest(what, args) {
  console.error(`== ${what} tests`)
  const file = join(scratch, `${what}.json`)
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`]
  // Minutes pass in the system tests: files are shown as they finish.
  const { status } = await run('vitest', ['run', ...args, ...reporters], { live: true })
  const results = existsSync(file) ? countTests(JSON.parse(readFileSync(file, 'utf8'))) : []
  skipped.push(...results.filter((result) => result.skipped).map(({ name }) => name))
  add(
    results.filter((result) => !result.skipped),
    `${what} tests`,
    status,
  )
}

function add(results, what, status) {
  const failed = results.filter(({ passed }) => !passed)
  total.passed += results.length - failed.length
  total.failed += failed.length
  failures.push(...failed.map(({ name }) => `${what}: ${name}`))
  // It failed although no test says so (an error outside of any test, no test found): that is a failure too.
  if (status !== 0 && failed.length === 0) {
    total.failed += 1
    failures.push(`${what}: exited with ${status}`)
  }
}

function readResults(name) {
  return () => (existsSync(join(scratch, name)) ? JSON.parse(readFileSync(join(scratch, name), 'utf8')) : undefined)
}
