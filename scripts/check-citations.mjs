// Every citation of the specification names a section that exists, by its number and its title:
//   VIRTIO 1.3 § 2.7.13.3.1 "Driver Requirements: Updating idx"
// and every short one (`§ 2.7.13.3.1`, in a test title or beside the line that obeys it) a number that exists.
// The sections come from docs/spec/sections.json, which scripts/generate-sections.mjs writes.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { filesBelow, readJson, readText, report, root, workspaces } from './workspaces.mjs'

const { version, sections } = readJson('docs/spec/sections.json')
const FULL = /(?:VIRTIO|[Vv]irtio)\s+v?(\d+\.\d+)\s*,?\s*§\s*([0-9A-C](?:\.\d+)*)(?:\s+"([^"]*)")?/g
const SHORT = /(\b(?:RFC|PCI|vhost-user|POSIX|IEEE)[^\n§]{0,30})?§\s*([0-9A-C](?:\.\d+)*)/g

const problems = []
let citations = 0
const folders = ['packages', 'apps', 'test', 'bench', 'examples', 'templates', 'docs']
const rootFiles = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md'].filter((name) => existsSync(join(root, name)))
const files = [
  ...folders.flatMap((folder) => filesBelow(folder, /\.(ts|md)$/)),
  ...filesBelow('.changeset', /\.md$/),
  ...rootFiles,
]
if (workspaces().length === 0) throw new Error('no packages found: nothing would be checked')

for (const path of files) {
  const text = unwrapped(readText(path))
  const full = new Set()
  for (const match of text.matchAll(FULL)) {
    citations += 1
    full.add(match.index + match[0].indexOf('§'))
    const [whole, cited, number, wrappedTitle] = match
    const title = wrappedTitle?.replace(/\s+/g, ' ')
    const where = `${path}:${lineOf(text, match.index)}`
    if (`VIRTIO ${cited}` !== version) problems.push(`${where}: cites VIRTIO ${cited}; this project cites ${version}`)
    else if (!whole.replace(/\s+/g, ' ').startsWith(`${version} § `))
      problems.push(`${where}: write it as ${version} § ${number}`)
    else if (sections[number] === undefined) problems.push(`${where}: ${version} has no § ${number}`)
    else if (title === undefined) problems.push(`${where}: § ${number} without its title "${sections[number]}"`)
    else if (title !== sections[number]) problems.push(`${where}: § ${number} is "${sections[number]}", not "${title}"`)
  }
  for (const match of text.matchAll(SHORT)) {
    const [whole, otherDocument, number] = match
    if (otherDocument !== undefined || full.has(match.index + whole.indexOf('§'))) continue
    citations += 1
    if (sections[number] === undefined)
      problems.push(`${path}:${lineOf(text, match.index)}: ${version} has no § ${number}`)
  }
}

report(problems, `${citations} citations in ${files.length} files`)

/** Joins lines inside comments so that a citation may wrap; a newline stays countable, as \u2028. */
function unwrapped(text) {
  return text.replace(/\n[ \t]*(?:\*(?!\/)|\/\/|>)?[ \t]*/g, '\u2028 ')
}

function lineOf(text, index) {
  return text.slice(0, index).split('\u2028').length
}
