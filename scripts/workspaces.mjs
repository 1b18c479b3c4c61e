// The packages of this repository and their files, for the check scripts.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('..', import.meta.url))

/** Every workspace: { name: 'core', directory: 'packages/core', manifest: its package.json }. */
export function workspaces() {
  return ['packages', 'apps'].flatMap((folder) =>
    readdirSync(join(root, folder))
      .filter((name) => existsSync(join(root, folder, name, 'package.json')))
      .map((name) => ({ name, directory: `${folder}/${name}`, manifest: readJson(`${folder}/${name}/package.json`) })),
  )
}

/** Holds a violation of every rule, as text. */
const SEEDS = 'test/checks.test.ts'

/** Paths below `directory`, relative to the root, whose name matches; build output and installed packages left out. */
export function filesBelow(directory, pattern) {
  if (!existsSync(join(root, directory))) return []
  return readdirSync(join(root, directory), { withFileTypes: true }).flatMap((entry) => {
    const path = directory === '.' ? entry.name : `${directory}/${entry.name}`
    if (entry.isDirectory())
      return /^(node_modules|dist|coverage|\..*)$/.test(entry.name) ? [] : filesBelow(path, pattern)
    return pattern.test(entry.name) && path !== SEEDS ? [path] : []
  })
}

/** The source files of a workspace that are not tests nor what only tests use: layer rules hold for these. */
export function sourceFiles(directory) {
  return filesBelow(`${directory}/src`, /\.ts$/).filter(
    (path) => !/\.(test|bench|fixture)(-d)?\.ts$|\/testing\//.test(path),
  )
}

export function readText(path) {
  return readFileSync(join(root, path), 'utf8')
}

export function readJson(path) {
  return JSON.parse(readText(path))
}

/** Prints the problems and sets the exit code: the common end of every check. */
export function report(problems, checked) {
  for (const problem of problems) console.error(problem)
  console.error(`${checked}: ${problems.length === 0 ? 'ok' : `${problems.length} problem(s)`}`)
  process.exitCode = problems.length === 0 ? 0 : 1
}
