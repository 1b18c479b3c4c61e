// Every package is complete: README, description, tests, a small index; every driver has the one shape that
// docs/writing-a-driver.md teaches (`XDriver` with a static `open`, exported from src/index.ts).
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { filesBelow, readText, report, root, sourceFiles, workspaces } from './workspaces.mjs'

const MAX_INDEX_LINES = 80
const problems = []
const all = workspaces()

for (const { name, directory, manifest } of all) {
  const need = (present, what) => present || problems.push(`${directory}: ${what}`)
  const index = existsSync(join(root, directory, 'src/index.ts')) ? readText(`${directory}/src/index.ts`) : undefined

  need(existsSync(join(root, directory, 'README.md')), 'no README.md')
  need((manifest.description ?? '').length > 10, 'no description in package.json')
  need(manifest.license === 'MIT', 'license in package.json is not MIT')
  need(manifest.type === 'module', 'not an ES module package')
  need(manifest.repository?.directory === directory, 'repository.directory in package.json does not say where it lives')
  need(
    manifest.private === true || manifest.publishConfig?.access === 'public',
    'published package without public access',
  )
  need(manifest.private === true || manifest.files?.includes('dist'), 'package.json "files" lacks dist')
  need(index !== undefined, 'no src/index.ts')
  need((index ?? '').split('\n').length <= MAX_INDEX_LINES, `src/index.ts is longer than ${MAX_INDEX_LINES} lines`)
  need(!/export \* from/.test(index ?? ''), 'src/index.ts exports with *: name what is public')
  need(filesBelow(directory, /\.test\.ts$/).length > 0 || isSuiteInUse(manifest.name), 'no test')
  if (name.startsWith('driver-')) checkDriver(name, directory, index ?? '', need)
}
for (const path of ['packages', 'apps', 'test', 'templates'].flatMap((folder) =>
  filesBelow(folder, /\.(test|suite)\.ts$/),
)) {
  const found = /\b(?:describe|suite|it|test)\.(skip|skipIf|runIf|todo|only)\b/.exec(readText(path))
  if (found !== null) problems.push(`${path}: .${found[1]}: say what the suite needs with test/requirements.ts`)
}
report(problems, `structure of ${all.length} packages`)

/** A package of suites is tested by those who run them. */
function isSuiteInUse(name) {
  if (name !== '@virtio-ts/conformance') return false
  const tests = ['packages', 'apps', 'test'].flatMap((folder) => filesBelow(folder, /\.test\.ts$/))
  return tests.some((path) => readText(path).includes(`from '${name}'`))
}

function checkDriver(name, directory, index, need) {
  const subject = name.slice('driver-'.length)
  const driver = `${subject[0].toUpperCase()}${subject.slice(1)}Driver`
  const sources = sourceFiles(directory).map(readText)
  const source = sources.find((text) => new RegExp(`export class ${driver}\\b`).test(text)) ?? ''
  need(new RegExp(`\\b${driver}\\b`).test(index), `src/index.ts does not export ${driver}`)
  need(source !== '', `no class ${driver}`)
  need(
    /static (async )?open\(\s*transport: Transport\b/.test(source),
    `${driver} has no static open(transport, options)`,
  )
  need(
    sources.some((text) => /DriverSpec\b/.test(text)),
    'no DriverSpec',
  )
  need(/asyncDispose/.test(source), `${driver} cannot be closed with await using`)
}
