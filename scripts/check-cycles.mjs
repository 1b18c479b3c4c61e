// No two modules of a package import each other, directly or around corners. Imports of types do not count: they are gone
// at run time.
import { join } from 'node:path'
import { withoutComments } from './imports.mjs'
import { readText, report, sourceFiles, workspaces } from './workspaces.mjs'

const STATEMENT = /^\s*(?:import|export)\s+(type\s)?(?:([^'"`;=()]*?)\bfrom\s*)?['"](\.[^'"]+)['"]/gm

const files = workspaces().flatMap(({ directory }) => sourceFiles(directory))
const graph = new Map(files.map((path) => [path, codeImports(path)]))
const problems = []
const done = new Set()
for (const path of files) visit(path, [])
report(problems, `cycles among ${files.length} modules`)

function visit(path, way) {
  if (way.includes(path)) {
    problems.push(`these import each other: ${[...way.slice(way.indexOf(path)), path].join(' -> ')}`)
    return
  }
  if (done.has(path)) return
  for (const next of graph.get(path) ?? []) visit(next, [...way, path])
  done.add(path)
}

/** Relative imports that are left when the types are erased: not `import type`, not `{ type A, type B }`. */
function codeImports(path) {
  return [...withoutComments(readText(path)).matchAll(STATEMENT)].flatMap(([, typeOnly, names, specifier]) => {
    const braced = /^\s*\{([^}]*)\}\s*$/.exec(names ?? '')?.[1]
    const onlyTypes = braced
      ?.split(',')
      .map((name) => name.trim())
      .filter(Boolean)
      .every((name) => name.startsWith('type '))
    return typeOnly || onlyTypes ? [] : [join(path, '..', specifier)]
  })
}
