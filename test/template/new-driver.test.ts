import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CheckoutCopy, type Outcome, repository, runIn } from './checkout-copy.ts'

const LONG = 300_000
const directory = 'packages/driver-kite'
const driver = `${directory}/src/kite-driver.ts`

const newDriver = (...args: readonly string[]): Promise<Outcome> =>
  runIn(repository, process.execPath, 'scripts/new-driver.mjs', ...args)

interface TestRun {
  readonly passed: number
  readonly failures: readonly string[]
}

/** The generated package's own tests, in a process of their own. */
async function runTests(copy: CheckoutCopy): Promise<TestRun> {
  const file = 'node_modules/.cache/kite-results.json'
  const args = ['run', directory, '--project=unit', '--reporter=json', `--outputFile=${file}`]
  const { status, output } = await copy.run('vitest', ...args)
  const results = JSON.parse(copy.read(file)) as {
    readonly numPassedTests: number
    readonly testResults: readonly { readonly assertionResults: readonly { status: string; fullName: string }[] }[]
  }
  const failures = results.testResults
    .flatMap(({ assertionResults }) => assertionResults)
    .filter((result) => result.status === 'failed')
    .map(({ fullName }) => fullName)
  // Exit code and count have to agree: a file that does not load has no failing test.
  if ((status === 0) !== (failures.length === 0)) throw new Error(output)
  return { passed: results.numPassedTests, failures }
}

describe('a driver made from the template', () => {
  let copy: CheckoutCopy
  let made: Outcome

  beforeAll(async () => {
    copy = new CheckoutCopy()
    const args = ['kite', '--device-type', '44', '--queues', 'requestq,eventq', '--into', copy.root]
    made = await newDriver(...args)
    if (made.status === 0) copy.link(directory)
  })
  afterAll(() => copy.remove())

  it('is a package with every file, and nothing of the sample left in it', () => {
    expect(made).toMatchObject({ status: 0 })
    const files = readdirSync(join(copy.root, directory), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(copy.root.length + 1))
    expect(files.toSorted()).toEqual(
      [
        'README.md',
        'package.json',
        'src/index.ts',
        'src/kite-driver.test.ts',
        'src/kite-driver.ts',
        'src/testing/kite-model.ts',
        'tsconfig.json',
        'turbo.json',
      ].map((file) => `${directory}/${file}`),
    )
    for (const file of files) expect(copy.read(file)).not.toMatch(/sample|template|\b63\b/i)
  })

  it('has the name, device type and queues asked for, under 80 lines', () => {
    const source = copy.read(driver)
    expect(source).toContain('export class KiteDriver implements AsyncDisposable')
    expect(source).toContain("type KiteQueue = 'requestq' | 'eventq'")
    expect(source).toContain("queues: ['requestq', 'eventq']")
    expect(source).toContain('deviceType: 44,')
    expect(source.trimEnd().split('\n').length).toBeLessThan(80)
    expect(JSON.parse(copy.read(`${directory}/package.json`))).toMatchObject({
      name: '@virtio-ts/driver-kite',
      dependencies: { '@virtio-ts/core': JSON.parse(copy.read('packages/core/package.json')).version },
    })
  })

  it('is known to the repository, and says what to do next', () => {
    const { references } = JSON.parse(copy.read('tsconfig.json')) as { references: { path: string }[] }
    expect(references.filter(({ path }) => path === directory)).toHaveLength(1)
    expect(copy.read('docs/errors.md')).toContain('| `kite.short-answer` |')
    for (const step of ['npm install', `npx vitest run ${directory}`, 'docs/conformance.md', 'npx changeset']) {
      expect(made.output).toContain(step)
    }
  })

  it('builds', { timeout: LONG }, async () => {
    expect(await copy.run('tsc', '-b', directory)).toEqual({ status: 0, output: '' })
    expect(copy.read(`${directory}/dist/kite-driver.d.ts`)).toContain('static open(transport: Transport')
  })

  it('passes its tests: the suite of every driver, and its own', { timeout: LONG }, async () => {
    const { passed, failures } = await runTests(copy)
    expect(failures).toEqual([])
    expect(passed).toBeGreaterThan(12)
  })

  it.each([
    ['a question that is not written', 'buffer.bytes.set(question)', '', 'works, and leaves nothing behind'],
    ['a close that does not', 'return this.#device.close()', 'return Promise.resolve()', 'leaves nothing behind'],
    ['a bit that is another', '{ MAX_LENGTH: 0 }', '{ MAX_LENGTH: 5 }', 'the longest question'],
    ['a field believed', 'Math.min(told, LONGEST)', 'told', 'the longest question'],
    ['a field read without its feature', "device.features.has('MAX_LENGTH')", 'true', 'the longest question'],
    [
      'a buffer taken back too early',
      'void released.then(() => this.#idle.push(buffer))',
      'this.#idle.push(buffer)',
      'aborted question',
    ],
    ['an answer believed', 'written === length', 'written > 0', 'not all there'],
    ['a fault not asked for', 'if (this.#device.fault) throw this.#device.fault', '', 'memory it has given back'],
  ])('fails them with %s', { timeout: LONG }, async (_, right, wrong, title) => {
    const source = copy.read(driver)
    expect(source.split(right)).toHaveLength(2)
    copy.write(driver, source.replace(right, wrong))
    try {
      expect((await runTests(copy)).failures.join('\n')).toContain(title)
    } finally {
      copy.write(driver, source)
    }
  })

  it('gives no check of the repository anything to say', { timeout: LONG }, async () => {
    const layers = ['layers-dependencies', 'layers-boundaries', 'layers-exports', 'layers-imports', 'cycles']
    const text = ['lint', 'format', 'structure', 'names', 'citations', 'errors', 'examples', 'links']
    const checks = [...layers, ...text, 'test-types', 'unused-code', 'versions']
    // The linter finds types of other packages where they have been built.
    const built = await copy.run(process.execPath, 'scripts/check.mjs', 'types')
    const checked = await copy.run(process.execPath, 'scripts/check.mjs', ...checks)
    const output = `${built.output}\n\n${checked.output}`
    for (const check of ['types', ...checks]) expect(output).toMatch(new RegExp(`^(ok|FAILED) +${check} `, 'm'))
    // Whatever else there may be to say is not this test's business.
    expect(output.split('\n\n').filter((paragraph) => /kite/i.test(paragraph))).toEqual([])
  })

  it('is not made twice', async () => {
    const again = await newDriver('kite', '--device-type', '44', '--into', copy.root)
    expect(again).toMatchObject({ status: 1, output: expect.stringContaining(`${directory} exists`) })
  })
})

it('makes the driver that the guide has made', async () => {
  const copy = new CheckoutCopy()
  try {
    const [, command = ''] = /^npm run new-driver -- (.*)$/m.exec(copy.read('docs/writing-a-driver.md')) ?? []
    expect(await newDriver(...command.split(' '), '--into', copy.root)).toMatchObject({ status: 0 })
    const source = copy.read('packages/driver-input/src/input-driver.ts')
    expect(source).toContain("requestQueue('eventq')")
    expect(source).toContain("queues: ['eventq', 'statusq']")
    expect(copy.read('packages/driver-input/src/testing/input-model.ts')).toContain('= [64, 64]')
  } finally {
    copy.remove()
  }
})

describe('new-driver refuses', () => {
  let copy: CheckoutCopy
  beforeAll(() => {
    copy = new CheckoutCopy()
  })
  afterAll(() => copy.remove())

  it.each([
    ['no name', ['--device-type', '5'], 'one name, please', 2],
    ['two names', ['kite', 'input', '--device-type', '18'], 'one name, please', 2],
    ['a dash', ['nine-p', '--device-type', '9'], 'one word', 2],
    ['a digit', ['p9', '--device-type', '9'], 'one word', 2],
    ['a capital', ['Kite', '--device-type', '9'], 'one word', 2],
    ['a path', ['../kite', '--device-type', '9'], 'one word', 2],
    ['a name that means something else', ['device', '--device-type', '9'], 'DeviceModel means something else', 1],
    ['the name of the sample', ['sample', '--device-type', '9'], 'means something else', 1],
    ['a driver there is', ['rng', '--device-type', '4'], 'packages/driver-rng exists', 1],
    ['no device type', ['kite'], '--device-type takes', 2],
    ['device type 0', ['kite', '--device-type', '0'], '1 to 63', 2],
    ['device type 64', ['kite', '--device-type', '64'], '1 to 63', 2],
    ['a device type by name', ['kite', '--device-type', 'block'], '1 to 63', 2],
    ['a queue without a name', ['kite', '--device-type', '9', '--queues', 'requestq,'], "a queue's name", 2],
    ['a queue that is code', ['kite', '--device-type', '9', '--queues', "q'"], "a queue's name", 2],
    ['a queue twice', ['kite', '--device-type', '9', '--queues', 'requestq,requestq'], 'two queues', 2],
    ['an option there is not', ['kite', '--type', '9'], "'--type'", 2],
  ] as const)('%s', async (_, args, message, status) => {
    const before = { config: copy.read('tsconfig.json'), errors: copy.read('docs/errors.md') }
    const packages = readdirSync(join(copy.root, 'packages'))
    const outcome = await newDriver(...args, '--into', copy.root)
    expect(outcome).toMatchObject({ status, output: expect.stringContaining(message) })
    expect(outcome.output).not.toContain('    at ')
    expect({ config: copy.read('tsconfig.json'), errors: copy.read('docs/errors.md') }).toEqual(before)
    expect(readdirSync(join(copy.root, 'packages'))).toEqual(packages)
  })

  it('a folder that is no checkout', async () => {
    const outcome = await newDriver('kite', '--device-type', '9', '--into', join(copy.root, 'docs'))
    expect(outcome).toMatchObject({ status: 2, output: expect.stringContaining('is no checkout') })
    expect(existsSync(join(copy.root, 'docs/packages'))).toBe(false)
  })
})

it('left this repository as it was', () => {
  expect(readdirSync(join(repository, 'packages')).filter((name) => /kite|nine|input$/.test(name))).toEqual([])
})
