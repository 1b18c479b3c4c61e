// Reads the LaTeX source of the virtio specification: follows \input, numbers the headings as LaTeX does.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const LEVELS = ['chapter', 'section', 'subsection', 'subsubsection', 'paragraph', 'subparagraph']
const HEADING =
  /\\(chapter|section|subsection|subsubsection|paragraph|subparagraph)(?=\{)|\\(drivernormative|devicenormative|conformance)\{\\([a-z]+)\}|\\(appendix)\b/g

/** The whole document as one string, comments removed. */
export function readSource(checkout, file = 'main.tex') {
  const text = readFileSync(join(checkout, file), 'utf8').replace(/(?<!\\)%.*$/gm, '')
  return text.replace(/\\input\{([^}]+)\}/g, (_, name) => {
    const path = name.endsWith('.tex') ? name : `${name}.tex`
    if (!existsSync(join(checkout, path))) throw new Error(`${file} includes ${path}, which is not in ${checkout}`)
    return readSource(checkout, path)
  })
}

/** Headings in document order: { number, title, kind, start, end } where the body is source.slice(end, next.start). */
export function headings(source) {
  const counters = LEVELS.map(() => 0)
  const found = []
  let appendix = false
  let clause = 0
  for (const match of source.matchAll(HEADING)) {
    if (match[4] !== undefined) {
      appendix = true
      counters.fill(0)
      continue
    }
    const kind = match[2] ?? 'heading'
    const level = LEVELS.indexOf(match[3] ?? match[1])
    const argument = braced(source, match.index + match[0].length)
    // \drivernormative{\level}{title}{label}: the label is not part of the body.
    const end = kind.endsWith('normative') ? braced(source, argument.end).end : argument.end
    counters[level] += 1
    counters.fill(0, level + 1)
    const first = appendix ? String.fromCharCode(64 + counters[0]) : String(counters[0])
    found.push({
      number: [first, ...counters.slice(1, level + 1)].join('.'),
      title: prefix(kind, () => (clause += 1)) + plainText(argument.text),
      kind,
      start: match.index,
      end,
    })
  }
  return found
}

function prefix(kind, nextClause) {
  if (kind === 'drivernormative') return 'Driver Requirements: '
  if (kind === 'devicenormative') return 'Device Requirements: '
  return kind === 'conformance' ? `Clause ${nextClause()}: ` : ''
}

/** The text between the brace at or after `from` and its partner. */
function braced(source, from) {
  const open = source.indexOf('{', from)
  let depth = 0
  for (let at = open; at < source.length; at++) {
    if (source[at] === '{' && source[at - 1] !== '\\') depth += 1
    if (source[at] === '}' && source[at - 1] !== '\\') depth -= 1
    if (depth === 0) return { text: source.slice(open + 1, at), end: at + 1 }
  }
  throw new Error(`unbalanced braces after ${source.slice(from, from + 60)}`)
}

/** LaTeX markup to plain text: \field{Device Status} is "Device Status". */
export function plainText(latex) {
  let text = latex.replace(/\\(?:footnote|label|hyperref\[[^\]]*\])\{[^{}]*\}/g, '')
  for (let before = ''; before !== text; ) {
    before = text
    text = text.replace(/\\(?:field|emph|textbf|texttt|textit|ref|url|lstinline|mathrm|text)\{([^{}]*)\}/g, '$1')
  }
  return text
    .replace(/\\(?:ldots|dots)\b/g, '...')
    .replace(/\\textasciicircum(?:\{\})?/g, '^')
    .replace(/``|''/g, '"')
    .replace(/\$([^$]*)\$/g, '$1')
    .replace(/~/g, ' ')
    .replace(/\\([_&%#${}])/g, '$1')
    .replace(/[^\S\u2029]+/g, ' ')
    .trim()
}
