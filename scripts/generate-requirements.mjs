// Writes docs/spec/driver-requirements.json: what the specification says a driver MUST and MUST NOT do, sentence by
// sentence, for the chapters this project implements. docs/conformance.md answers each of them.
//   node scripts/generate-requirements.mjs CHECKOUT-OF-VIRTIO-SPEC      (the tag: see generate-sections.mjs)
import { writeFileSync } from 'node:fs'
import { headings, plainText, readSource } from './latex-headings.mjs'

const CHAPTERS = [
  '2.1',
  '2.2',
  '2.3',
  '2.4',
  '2.5',
  '2.6',
  '2.7',
  '2.8',
  '2.9',
  '3',
  '4.1',
  '5.1',
  '5.2',
  '5.3',
  '5.4',
  '5.5',
  '6',
]

const [checkout] = process.argv.slice(2)
if (checkout === undefined) {
  console.error('usage: node scripts/generate-requirements.mjs CHECKOUT-OF-VIRTIO-SPEC')
  process.exit(2)
}

const source = readSource(checkout)
const all = headings(source)
const requirements = []
for (const [index, heading] of all.entries()) {
  const wanted = CHAPTERS.some((chapter) => heading.number === chapter || heading.number.startsWith(`${chapter}.`))
  if (heading.kind !== 'drivernormative' || !wanted) continue
  const body = source.slice(heading.end, all[index + 1]?.start)
  const statements = sentences(body).filter((sentence) => /\b(MUST|SHALL)\b/.test(sentence))
  for (const [at, text] of statements.entries()) {
    requirements.push({ id: `${heading.number}/${at + 1}`, section: heading.number, text })
  }
}

const target = new URL('../docs/spec/driver-requirements.json', import.meta.url)
writeFileSync(target, `${JSON.stringify({ version: 'VIRTIO 1.3', requirements }, null, 2)}\n`)
console.error(
  `${requirements.length} requirements in ${new Set(requirements.map(({ section }) => section)).size} sections`,
)

/** The sentences of a LaTeX body; list items belong to the sentence that introduces the list. */
function sentences(body) {
  const text = body
    .replace(/\\label\{[^}]*\}/g, '')
    .replace(/\\begin\{lstlisting\}[\s\S]*?\\end\{lstlisting\}/g, ' ')
    .replace(/\\footnote\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}/g, '')
    .replace(/\\(?:ref|nameref)\{(?:[^}]*[/:])?\s*([^}/:]+)\}/g, '"$1"')
    .replace(/\\begin\{(?:itemize|enumerate)\*?\}(?:\[[^\]]*\])?/g, '\u2029<\u2029')
    .replace(/\\end\{(?:itemize|enumerate)\*?\}/g, '\u2029>\u2029')
    .replace(/\\(?:begin|end)\{[a-z]+\*?\}/g, '\u2029')
    .replace(/\\item(?:\[([^\]]*)\])?/g, '\u2029\u2022 $1 ')
    .replace(/\n\s*\n/g, '\u2029')
  const parts = plainText(text)
    .split('\u2029')
    .flatMap((part) => part.trim().split(/(?<=[.;])\s+(?=[A-Z])/))
    .map((part) => part.trim())
    .filter(Boolean)

  const found = []
  let depth = 0
  let introduction = -1
  for (const part of parts) {
    if (part === '<') {
      if (depth === 0) introduction = found.length - 1
      depth += 1
    } else if (part === '>') {
      depth -= 1
    } else if (part.startsWith('\u2022') && depth > 0 && introduction >= 0 && !found[introduction].endsWith('.')) {
      found[introduction] += ` ${part.replace(/\.$/, ';')}`
    } else {
      found.push(part.replace(/^\u2022\s*/, ''))
    }
  }
  return found.map((sentence) => sentence.replace(/;$/, '.'))
}
