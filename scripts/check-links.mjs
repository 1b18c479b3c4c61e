// Relative links in the documentation lead to files that exist.
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { filesBelow, readText, report, root } from './workspaces.mjs'

const LINK = /\]\(([^)\s]+)\)/g
const pages = filesBelow('.', /\.md$/)
const problems = []
let links = 0
for (const page of pages) {
  const prose = readText(page).replace(/^```[\s\S]*?^```/gm, '')
  for (const [, target] of prose.matchAll(LINK)) {
    if (/^(https?:|mailto:|#)/.test(target)) continue
    links += 1
    if (!existsSync(join(root, dirname(page), target.split('#')[0]))) problems.push(`${page}: ${target} does not exist`)
  }
}
report(problems, `${links} links in ${pages.length} pages`)
