// Layer check 4 of 4: dependency-cruiser over the sources, rules in .dependency-cruiser.mjs. It once looked at build
// output only (with TypeScript 7 it needs @swc/core to read .ts files), so the number of modules it saw is checked too.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { root, sourceFiles, workspaces } from './workspaces.mjs'

const sources = workspaces().map(({ directory }) => `${directory}/src`)
const expected = workspaces().flatMap(({ directory }) => sourceFiles(directory)).length
const cruiser = spawnSync(join(root, 'node_modules/.bin/depcruise'), [...sources, '--output-type', 'err'], {
  cwd: root,
  encoding: 'utf8',
})

const output = `${cruiser.stdout ?? ''}${cruiser.stderr ?? ''}`
const seen = Number(/(\d+) modules/.exec(output)?.[1] ?? 0)
console.error(output.trim())
if (seen < expected) console.error(`dependency-cruiser saw ${seen} modules, expected at least ${expected}`)
process.exitCode = cruiser.status === 0 && seen >= expected ? 0 : 1
