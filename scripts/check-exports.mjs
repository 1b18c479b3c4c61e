// Layer check 3 of 4: exports maps. Every package has one, with named entries only (no `./*`, so no deep imports);
// every entry names a source file that exists, and imports between packages use entries that exist.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { importsOf, packageOf } from './imports.mjs'
import { filesBelow, report, root, workspaces } from './workspaces.mjs'

const problems = []
const all = workspaces()
const byName = new Map(all.map((workspace) => [workspace.manifest.name, workspace]))

for (const { directory, manifest } of all) {
  const where = `${directory}/package.json`
  const { exports: map, main, module, types, typesVersions } = manifest
  if (main ?? module ?? types ?? typesVersions)
    problems.push(`${where}: entries belong in "exports", not in "main" or "types"`)
  if (map?.['./package.json'] !== './package.json') problems.push(`${where}: "exports" lacks "./package.json"`)
  for (const [entry, target] of Object.entries(map ?? {})) {
    if (entry === './package.json') continue
    if (entry.includes('*')) problems.push(`${where}: "${entry}" would open deep paths`)
    const source = target['@virtio-ts/source']
    if (typeof source !== 'string' || !existsSync(join(root, directory, source))) {
      problems.push(`${where}: "${entry}" names the source ${source}, which does not exist`)
      continue
    }
    const built = source.replace(/^\.\/src\//, './dist/').replace(/\.ts$/, '')
    const expected = { '@virtio-ts/source': source, types: `${built}.d.ts`, default: `${built}.js` }
    // Order matters: the first condition that applies wins.
    if (JSON.stringify(target) !== JSON.stringify(expected)) {
      problems.push(`${where}: "${entry}" should be ${JSON.stringify(expected)}`)
    }
  }
}

const roots = ['packages', 'apps', 'test', 'bench', 'examples', 'templates']
for (const path of roots.flatMap((folder) => filesBelow(folder, /\.ts$/))) {
  for (const specifier of importsOf(path)) {
    const target = byName.get(packageOf(specifier))
    if (target === undefined) {
      const away = /^\.\.?\//.test(specifier) && leavesPackage(path, specifier)
      if (away) problems.push(`${path}: ${specifier} reaches into another package; import it by name`)
      continue
    }
    const entry = specifier === target.manifest.name ? '.' : `.${specifier.slice(target.manifest.name.length)}`
    if (target.manifest.exports?.[entry] === undefined)
      problems.push(`${path}: ${specifier} is not an entry of ${target.manifest.name}`)
  }
}

report(problems, `exports of ${all.length} packages`)

/** A relative path from one package into another. Tests may look inside, sources may not. */
function leavesPackage(from, specifier) {
  if (!/^(packages|apps)\//.test(from) || from.endsWith('.test.ts')) return false
  const to = join('/', from, '..', specifier).slice(1)
  const home = (path) => path.split('/', 2).join('/')
  return /^(packages|apps)\//.test(to) && home(to) !== home(from)
}
