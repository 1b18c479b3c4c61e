// Rewrites the tables of docs/conformance.md from docs/spec/driver-requirements.json; what people filled in stays.
// For a requirement without a row it adds one with the state `not yet`.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readJson, readText, root } from './workspaces.mjs'

const LEDGER = 'docs/conformance.md'
const BEGIN = '<!-- tables: written by scripts/update-ledger.mjs; code, test and state are filled in by hand -->'
const CHAPTERS = {
  2: 'Basic facilities',
  3: 'Initialisation and operation',
  4: 'PCI',
  5: 'Devices',
  6: 'Reserved feature bits',
}

const { sections } = readJson('docs/spec/sections.json')
const { requirements } = readJson('docs/spec/driver-requirements.json')
const page = readText(LEDGER)
const head = page.slice(0, page.indexOf(BEGIN) + BEGIN.length)
if (!page.includes(BEGIN)) throw new Error(`${LEDGER} lacks the line ${BEGIN}`)

const filled = new Map()
for (const line of page.split('\n')) {
  const cells = /^\| `([0-9.]+\/\d+)` \| .*? \| (.*?) \| (.*?) \| (.*?) \|$/.exec(line)
  if (cells !== null) filled.set(cells[1], cells.slice(2))
}

const lines = []
let chapter
let section
for (const { id, section: number, text } of requirements) {
  if (number[0] !== chapter) {
    chapter = number[0]
    lines.push('', `## ${CHAPTERS[chapter]}`)
  }
  if (number !== section) {
    section = number
    lines.push(
      '',
      `### § ${number} ${sections[number]}`,
      '',
      '| | requirement | code | test | state |',
      '|---|---|---|---|---|',
    )
  }
  const [code, test, state] = filled.get(id) ?? ['', '', 'not yet']
  lines.push(`| \`${id}\` | ${text.replaceAll('|', '\\|')} | ${code} | ${test} | ${state} |`)
}
writeFileSync(join(root, LEDGER), `${head}\n${lines.join('\n')}\n`)

const states = requirements.map(({ id }) => (filled.get(id)?.[2] ?? 'not yet').split(':')[0])
for (const state of new Set(states)) console.error(`${state}: ${states.filter((one) => one === state).length}`)
