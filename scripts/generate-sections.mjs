// Writes docs/spec/sections.json (section number -> title) from a checkout of the specification's LaTeX source.
//   git clone https://github.com/oasis-tcs/virtio-spec && git -C virtio-spec checkout v1.3-wd02
//   node scripts/generate-sections.mjs virtio-spec
// The tag v1.3-wd02 carries the revision virtio-v1.3-csd01 (6 October 2023) plus repairs to labels and links only.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { headings, readSource } from './latex-headings.mjs'

const [checkout] = process.argv.slice(2)
if (checkout === undefined) {
  console.error('usage: node scripts/generate-sections.mjs CHECKOUT-OF-VIRTIO-SPEC')
  process.exit(2)
}

const revision = readFileSync(join(checkout, 'REVISION'), 'utf8').trim()
const version = /^virtio-v(\d+\.\d+)-/.exec(revision)?.[1]
if (version === undefined) throw new Error(`${checkout}/REVISION says "${revision}", expected virtio-vX.Y-STAGE`)

const sections = {}
for (const { number, title } of headings(readSource(checkout))) sections[number] = title

const target = new URL('../docs/spec/sections.json', import.meta.url)
const document = {
  version: `VIRTIO ${version}`,
  revision,
  source: 'https://github.com/oasis-tcs/virtio-spec',
  sections,
}
writeFileSync(target, `${JSON.stringify(document, null, 2)}\n`)
console.error(`${Object.keys(sections).length} sections of ${revision}`)
