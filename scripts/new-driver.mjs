// Starts a driver package from templates/driver.
//   npm run new-driver -- NAME --device-type N [--queues requestq,...] [--into CHECKOUT]
// NAME is one word (`block`), N the virtio device ID, the queues are in the order of their indices.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const USAGE = 'usage: npm run new-driver -- NAME --device-type N [--queues requestq,...] [--into CHECKOUT]'
const template = fileURLToPath(new URL('../templates/driver', import.meta.url))
/** The template is a package that compiles: these words of it stand for yours. */
const SAMPLE = { name: 'sample', deviceType: '63', queues: ['requestq'] }
const ERRORS = 'docs/errors.md'

class Refusal extends Error {}

try {
  const wanted = readArguments()
  const directory = `packages/driver-${wanted.name}`
  const root = wanted.into
  // Everything that can go wrong does so before the first file is written.
  if (existsSync(join(root, directory)))
    throw new Refusal(`${directory} exists; choose another name, or delete it first`)
  const files = render(wanted)
  const references = withReference(readText(root, 'tsconfig.json'), directory)
  const errors = withErrorCode(readText(root, ERRORS), wanted.name)

  for (const [path, text] of files) {
    const target = join(root, directory, path)
    mkdirSync(dirname(target), { recursive: true })
    writeFileSync(target, text)
  }
  writeFileSync(join(root, 'tsconfig.json'), references)
  writeFileSync(join(root, ERRORS), errors)
  console.log(nextSteps(wanted, directory, files.size, format(root, directory)))
} catch (error) {
  if (!(error instanceof Refusal)) throw error
  console.error(`new-driver: ${error.message}`)
  process.exitCode = error.cause === 'usage' ? 2 : 1
}

function readArguments() {
  const usage = (text) => new Refusal(`${text}\n${USAGE}`, { cause: 'usage' })
  let parsed
  try {
    const options = { 'device-type': { type: 'string' }, queues: { type: 'string' }, into: { type: 'string' } }
    parsed = parseArgs({ options, allowPositionals: true })
  } catch (error) {
    throw usage(error.message)
  }
  const { values, positionals } = parsed
  const [name, ...more] = positionals
  if (name === undefined || more.length > 0) throw usage('one name, please')
  // The layer rules know drivers as driver-[a-z]+, and the class is called after the package.
  if (!/^[a-z]{2,24}$/.test(name))
    throw usage(`"${name}" cannot be a driver's name: one word of 2 to 24 small letters, without digits or dashes`)

  const deviceType = values['device-type'] ?? ''
  // PCI device IDs have room for 63: VIRTIO 1.3 § 4.1.2 "PCI Device Discovery".
  if (!/^\d+$/.test(deviceType) || Number(deviceType) < 1 || Number(deviceType) > 63)
    throw usage(
      `--device-type takes the virtio device ID, 1 to 63 (the specification's chapter 5), not "${deviceType}"`,
    )

  const queues = values.queues?.split(',') ?? SAMPLE.queues
  for (const [index, queue] of queues.entries()) {
    if (!/^[a-z][a-z0-9_]*$/.test(queue))
      throw usage(`"${queue}" cannot be a queue's name: take the specification's (requestq, controlq)`)
    if (queues.indexOf(queue) !== index) throw usage(`two queues are called ${queue}`)
  }
  const into = resolve(values.into ?? fileURLToPath(new URL('..', import.meta.url)))
  if (!existsSync(join(into, 'packages/core/package.json'))) throw usage(`${into} is no checkout of virtio-ts`)
  return { name, deviceType: String(Number(deviceType)), queues, into }
}

/** The files of the new package: path to text. */
function render({ name, deviceType, queues, into }) {
  const capital = (word) => word[0].toUpperCase() + word.slice(1)
  const quoted = queues.map((queue) => `'${queue}'`)
  const sources = filesBelow(template).map((path) => [path, readText(template, path)])
  refuseClash(name, capital, sources)

  const replacements = [
    // Queues first, while they are still recognised by the sample's words.
    [/(?<=type SampleQueue = )'requestq'/g, quoted.join(' | ')],
    [/(?<=queues: )\['requestq'\]/g, `[${quoted.join(', ')}]`],
    [/(?<=requestQueue\()'requestq'/g, quoted[0]],
    [/(?<=queueSizes: readonly number\[\] = )\[64\]/g, `[${queues.map(() => '64').join(', ')}]`],
    [/\b63\b/g, deviceType],
    // In place the template refers to packages from elsewhere, and its README cannot import what does not exist.
    [/(?<=")\.\.\/\.\.\/packages\//g, '../'],
    [/^```ts template$/gm, '```ts'],
    [/sample/g, name],
    [/Sample/g, capital(name)],
  ]
  const used = new Set()
  const files = new Map()
  for (const [path, source] of sources) {
    const replace = (text) =>
      replacements.reduce((done, [pattern, replacement]) => {
        if (done.search(pattern) >= 0) used.add(pattern)
        return done.replace(pattern, replacement)
      }, text)
    files.set(path.replaceAll(SAMPLE.name, name), replace(source))
  }
  const stale = replacements.find(([pattern]) => !used.has(pattern))
  if (stale !== undefined) throw new Error(`templates/driver has nothing that matches ${stale[0]}: correct this script`)

  files.set('package.json', withVersions(files.get('package.json'), into))
  return files
}

/** `device` would make a DeviceModel, which the template imports from elsewhere. */
function refuseClash(name, capital, sources) {
  const words = new Set(sources.flatMap(([, text]) => text.match(/[A-Za-z_]\w*/g) ?? []))
  const ownWords = [...words].filter((word) => /sample./i.test(word))
  const made = ownWords.map((word) => word.replaceAll('sample', name).replaceAll('Sample', capital(name)))
  const clash = made.find((word) => words.has(word))
  if (clash === undefined) return
  throw new Refusal(`"${name}" cannot be a driver's name: ${clash} means something else already`)
}

/** The packages of a checkout have one version: the new one joins them. */
function withVersions(text, root) {
  const manifest = JSON.parse(text)
  const versionOf = (name) => JSON.parse(readText(root, `packages/${name.split('/')[1]}/package.json`)).version
  manifest.version = versionOf('@virtio-ts/core')
  for (const name of Object.keys(manifest.dependencies)) manifest.dependencies[name] = versionOf(name)
  return `${JSON.stringify(manifest, null, 2)}\n`
}

/** Behind the last driver. */
function withReference(text, directory) {
  const config = JSON.parse(text)
  const last = config.references.findLastIndex(({ path }) => path.startsWith('packages/driver-'))
  config.references.splice(last + 1 || config.references.length, 0, { path: directory })
  return `${JSON.stringify(config, null, 2)}\n`
}

/** At the end of the table of drivers' errors, which has to be complete. */
function withErrorCode(text, name) {
  const table = /^## Drivers\b.*\n\n(?:\|.*\n)+/m.exec(text)
  if (table === null) throw new Refusal(`${ERRORS} has no table under "## Drivers" for the driver's error code`)
  const row = `| \`${name}.short-answer\` | the device answered with fewer bytes than it has to | the device is broken |\n`
  const end = table.index + table[0].length
  return text.slice(0, end) + row + text.slice(end)
}

/** Lines are longer or shorter than in the template. @returns whether it could be done */
function format(root, directory) {
  const { status } = spawnSync(join(root, 'node_modules/.bin/biome'), ['format', '--write', directory], { cwd: root })
  return status === 0
}

function nextSteps({ name, queues }, directory, files, formatted) {
  const [queue, ...idle] = queues
  return `${directory}: ${files} files from templates/driver
tsconfig.json: a reference to it; ${ERRORS}: a row for ${name}.short-answer
${idle.length > 0 ? `The driver uses ${queue} so far; set up, but without use: ${idle.join(', ')}\n` : ''}
It works, on a device that does not exist. Next:
  npm install                              links @virtio-ts/driver-${name}${formatted ? '' : '\n  npm run format'}
  node scripts/complete-lockfile.mjs       npm's own omissions in package-lock.json
  npx vitest run ${directory}
  docs/writing-a-driver.md                 then change the places marked "Change:", the model first
And before it is done:
  docs/conformance.md                      your chapter: CHAPTERS in scripts/generate-requirements.mjs, then a row for each MUST
  README.md, docs/architecture.md          the tables of devices and packages, the picture of the layers
  ${ERRORS}                           the codes you made
  npx changeset                            the changelog's entry
  npm run check`
}

function filesBelow(folder, prefix = '') {
  return readdirSync(join(folder, prefix), { withFileTypes: true }).flatMap((entry) => {
    const path = join(prefix, entry.name)
    if (entry.isDirectory()) return /^(node_modules|dist)$/.test(entry.name) ? [] : filesBelow(folder, path)
    return [path]
  })
}

function readText(root, path) {
  return readFileSync(join(root, path), 'utf8')
}
