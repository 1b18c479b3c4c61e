// Every error code in the sources is in docs/errors.md, and every code there is in the sources. A code is what the
// error classes take first (`new VirtioError('ring.id-range', ...)`), and any other string of a listed family.
import { withoutComments } from './imports.mjs'
import { readText, report, sourceFiles, workspaces } from './workspaces.mjs'

const PAGE = 'docs/errors.md'
const CONSTRUCTED = /new [A-Z]\w*Error\(\s*'([a-z][a-z0-9-]*\.[a-z][a-z0-9-]*)'/g
const LITERAL = /['"`]([a-z][a-z0-9-]*)\.([a-z][a-z0-9-]*)['"`]/g
const FILE_NAMES = /^(ts|js|mjs|json|md|log|sock|pcap|pcapng|html|img)$/

const listed = new Set([...readText(PAGE).matchAll(/^\| `([a-z0-9.-]+)` \|/gm)].map((match) => match[1]))
const families = new Set([...listed].map((code) => code.split('.')[0]))
const problems = []
const used = new Set()

for (const path of workspaces().flatMap(({ directory }) => sourceFiles(directory))) {
  const code = withoutComments(readText(path))
  const found = new Set([...code.matchAll(CONSTRUCTED)].map((match) => match[1]))
  for (const [, family, rest] of code.matchAll(LITERAL)) {
    if (families.has(family) && !FILE_NAMES.test(rest)) found.add(`${family}.${rest}`)
  }
  for (const one of found) {
    used.add(one)
    // The beginning of a code stands for all that begin so (netd's exit codes are chosen that way).
    if (![...listed].some((code) => code.startsWith(one))) problems.push(`${path}: ${one} is not in ${PAGE}`)
  }
}
for (const code of listed) {
  if (!used.has(code)) problems.push(`${PAGE}: nothing uses ${code}`)
}
report(problems, `${used.size} error codes`)
