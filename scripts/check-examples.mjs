// Type-checks the examples in the documentation: every ```ts block that imports something, as a module of its own.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { run } from './run-quietly.mjs'
import { filesBelow, readText, report, root, workspaces } from './workspaces.mjs'

const BLOCK = /^```ts\n([\s\S]*?)^```$/gm
const pages = ['README.md', 'CONTRIBUTING.md', ...filesBelow('docs', /\.md$/), ...filesBelow('templates', /\.md$/)]
for (const { directory } of workspaces()) pages.push(...filesBelow(directory, /\.md$/))

const folder = join(root, 'node_modules/.cache/examples')
rmSync(folder, { recursive: true, force: true })
mkdirSync(folder, { recursive: true })
const origin = new Map()
for (const page of pages) {
  const text = readText(page)
  for (const match of text.matchAll(BLOCK)) {
    if (!/^import /m.test(match[1])) continue
    const name = `${page.replaceAll('/', '-').replace(/\.md$/, '')}-${origin.size}.ts`
    writeFileSync(join(folder, name), match[1])
    origin.set(name, { page, line: text.slice(0, match.index).split('\n').length })
  }
}
const compilerOptions = {
  noEmit: true,
  composite: false,
  declaration: false,
  declarationMap: false,
  isolatedDeclarations: false,
  rootDir: root,
  typeRoots: [join(root, 'node_modules/@types')],
}
writeFileSync(
  join(folder, 'tsconfig.json'),
  JSON.stringify({ extends: join(root, 'tsconfig.base.json'), compilerOptions, include: ['*.ts'] }),
)
writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module' }))

const { status, output } = await run('tsc', ['-p', folder, '--pretty', 'false'])
const problems = output
  .split('\n')
  .filter((line) => /error TS\d+/.test(line))
  .map((line) => {
    const at = /^(.*?)\((\d+),\d+\): (.*)$/.exec(line)
    const place = at === null ? undefined : origin.get(basename(at[1]))
    return place === undefined ? line : `${place.page}:${place.line + Number(at[2])}: ${at[3]}`
  })
if (status !== 0 && problems.length === 0) problems.push(output)
report(problems, `${origin.size} examples`)
