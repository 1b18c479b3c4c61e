// docs/conformance.md, the ledger, against reality: one row for every requirement in
// docs/spec/driver-requirements.json, a known state, and for what is `met` a source file that cites the section and a
// test that exists under that title.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { readJson, readText, report, root } from './workspaces.mjs'

const LEDGER = 'docs/conformance.md'
const ROW = /^\| `([0-9.]+\/\d+)` \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|$/
const STATE = /^(met|partly: .+|not yet(: .+)?|n\/a: .+)$/

const { requirements } = readJson('docs/spec/driver-requirements.json')
const problems = []
const rows = new Map()

for (const [index, line] of readText(LEDGER).split('\n').entries()) {
  if (!line.startsWith('| `')) continue
  const match = ROW.exec(line)
  const where = `${LEDGER}:${index + 1}`
  if (match === null) {
    problems.push(`${where}: not a row of five columns`)
    continue
  }
  const [, id, , code, test, state] = match
  if (rows.has(id)) problems.push(`${where}: ${id} has two rows`)
  rows.set(id, match[2])
  const complain = (text) => problems.push(`${where}: ${id}: ${text}`)
  if (!STATE.test(state)) complain(`state is "${state}"; use met, partly: ..., not yet, n/a: reason`)
  if (state === 'met' && (code === '' || test === '')) complain('met, but without code or test')
  for (const file of quoted(code)) checkCode(file, id.split('/')[0], complain)
  for (const reference of quoted(test)) checkTest(reference, complain)
}

for (const { id, text } of requirements) {
  if (!rows.has(id)) problems.push(`${LEDGER}: no row for ${id}: ${text}`)
  else if (rows.get(id) !== text.replaceAll('|', '\\|')) problems.push(`${LEDGER}: ${id} should read: ${text}`)
}
for (const id of rows.keys()) {
  if (!requirements.some((requirement) => requirement.id === id)) problems.push(`${LEDGER}: ${id} is not a requirement`)
}

report(problems, `${rows.size} of ${requirements.length} requirements`)

function quoted(cell) {
  return [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1])
}

/**
 * `file` or `file § N`: the file exists and cites the section, the one that contains it, or the named one, so that a reader
 * finds the way back.
 */
function checkCode(reference, section, complain) {
  const [file, other] = reference.split(' § ')
  if (!existsSync(join(root, file))) return complain(`${file} does not exist`)
  const accepted = other === undefined ? [section, section.slice(0, section.lastIndexOf('.'))] : [other]
  const cites = accepted.some((number) =>
    new RegExp(`§\\s*${number.replaceAll('.', '\\.')}(?![.\\d])`).test(readText(file)),
  )
  if (!cites) complain(`${file} does not cite § ${accepted[0]}`)
}

/** `file › title`: the file exists and has a test, suite or case whose title is, or begins with, that text. */
function checkTest(reference, complain) {
  const [file, title] = reference.split(' › ')
  if (title === undefined) return complain(`write the test as \`file › title\`, not ${reference}`)
  if (!existsSync(join(root, file))) return complain(`${file} does not exist`)
  const source = readText(file).replace(/\\(['"`])/g, '$1')
  const pattern = title.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
  if (!new RegExp(`[([,]\\s*['"\`]${pattern}`).test(source)) complain(`${file} has no test titled "${title}"`)
}
