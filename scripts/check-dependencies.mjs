// Layer check 1 of 4: package.json. A package declares only what its layer allows, its sources import only what it
// declares, and tsconfig references and turbo tags say the same as the dependencies.
import { importsOf, packageOf } from './imports.mjs'
import { layerOf, mayDepend } from './layers.mjs'
import { filesBelow, readJson, report, sourceFiles, workspaces } from './workspaces.mjs'

const problems = []
const all = workspaces()
const directoryOf = new Map(all.map(({ directory, manifest }) => [manifest.name, directory]))

for (const { name, directory, manifest } of all) {
  const where = `${directory}/package.json`
  const rule = layerOf(name)
  if (rule === undefined) {
    problems.push(`${where}: no layer for "${name}"; add it to scripts/layers.mjs`)
    continue
  }
  if (manifest.name !== `@virtio-ts/${name}`) problems.push(`${where}: "name" should be @virtio-ts/${name}`)

  const declared = Object.keys({
    ...manifest.dependencies,
    ...manifest.peerDependencies,
    ...manifest.optionalDependencies,
  })
  for (const dependency of declared) {
    if (!mayDepend(name, dependency))
      problems.push(`${where}: layer ${rule.layer} package may not depend on ${dependency}`)
  }
  const imported = new Set()
  for (const path of sourceFiles(directory)) {
    for (const specifier of importsOf(path)) {
      const dependency = packageOf(specifier)
      if (dependency === undefined || dependency === manifest.name) continue
      imported.add(dependency)
      if (!declared.includes(dependency))
        problems.push(`${path}: imports ${specifier}, which ${where} does not declare`)
    }
  }
  // What only the package's own tests import is declared rightly too (conformance runs its suites on the drivers).
  for (const path of filesBelow(directory, /\.(ts|js)$/)) {
    for (const specifier of importsOf(path)) imported.add(packageOf(specifier))
  }
  for (const dependency of declared) {
    if (!imported.has(dependency)) problems.push(`${where}: nothing imports ${dependency}`)
  }

  expectSame(
    `${directory}/tsconfig.json references`,
    references(directory),
    declared.filter((n) => directoryOf.has(n)).map((n) => directoryOf.get(n)),
  )
  expectSame(`${directory}/turbo.json tags`, readJson(`${directory}/turbo.json`).tags ?? [], [`layer-${rule.layer}`])
}
expectSame(
  'tsconfig.json references',
  readJson('tsconfig.json').references.map(({ path }) => path),
  [...directoryOf.values()],
)

report(problems, `dependencies of ${all.length} packages`)

function references(directory) {
  const paths = readJson(`${directory}/tsconfig.json`).references ?? []
  return paths.map(({ path }) => new URL(path, `file:///${directory}/`).pathname.slice(1))
}

function expectSame(what, actual, expected) {
  const missing = expected.filter((entry) => !actual.includes(entry))
  const extra = actual.filter((entry) => !expected.includes(entry))
  for (const entry of missing) problems.push(`${what}: ${entry} is missing`)
  for (const entry of extra) problems.push(`${what}: ${entry} has no matching dependency`)
}
