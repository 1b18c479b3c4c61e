// Turns vitest's JSON report into one entry per test: { name, passed } or { name, skipped: true }. Skipped tests of one
// suite are one entry: what was left out is the suite, because something it needs is missing.
import { relative } from 'node:path'

export function countTests(report) {
  const results = []
  const skipped = new Set()
  for (const file of report.testResults) {
    const path = relative(process.cwd(), file.name)
    const before = results.length
    for (const test of file.assertionResults) {
      const name = `${path} > ${[...test.ancestorTitles, test.title].join(' > ')}`
      if (test.status === 'passed' || test.status === 'failed') results.push({ name, passed: test.status === 'passed' })
      else skipped.add(`${path} > ${test.ancestorTitles[0] ?? test.title}`)
    }
    // A file that could not be loaded, or whose hooks failed, has failed without a failed test.
    const failedTest = results.slice(before).some(({ passed }) => !passed)
    if (file.status === 'failed' && !failedTest)
      results.push({ name: `${path}: ${file.message?.split('\n')[0]}`, passed: false })
  }
  return [...results, ...[...skipped].map((name) => ({ name, skipped: true }))]
}
