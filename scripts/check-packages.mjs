// `npm run check:packages`: what would be published. Packs every public package, looks at each tarball with publint and
// attw, then installs all of them in an empty folder and imports every entry.
//   node scripts/check-packages.mjs [--json FILE]      (the packages must be built)
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { run } from './run-quietly.mjs'
import { workspaces } from './workspaces.mjs'

const scratch = mkdtempSync(join(tmpdir(), 'virtio-ts-packages-'))
const results = []
try {
  const published = workspaces().filter(({ manifest }) => manifest.private !== true)
  const packArgs = [
    'pack',
    '--json',
    '--pack-destination',
    scratch,
    ...published.flatMap(({ manifest }) => ['-w', manifest.name]),
  ]
  const packed = await run('npm', packArgs)
  const listing =
    packed.status === 0 ? Object.values(JSON.parse(packed.output.slice(packed.output.search(/^[[{]/m)))) : []
  add('npm pack', packed.status === 0 && listing.length === published.length, packed.output)

  const tarballs = published.map(({ manifest }) =>
    join(scratch, `${manifest.name.replace('@', '').replace('/', '-')}-${manifest.version}.tgz`),
  )
  for (const [index, { manifest }] of published.entries()) await inspect(manifest, tarballs[index])
  await install(published, tarballs)
} finally {
  rmSync(scratch, { recursive: true, force: true })
}
const reportTo = process.argv[2] === '--json' ? process.argv[3] : undefined
if (reportTo !== undefined) writeFileSync(reportTo, JSON.stringify(results))
process.exitCode = results.every(({ passed }) => passed) ? 0 : 1

async function inspect(manifest, tarball) {
  const bytes = readFileSync(tarball)
  const { messages, pkg } = await publint({
    pack: { tarball: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) },
    strict: true,
  })
  add(
    `publint ${manifest.name}`,
    messages.length === 0,
    messages.map((message) => formatMessage(message, pkg)).join('\n'),
  )
  const types = await run('attw', [tarball, '--profile', 'esm-only', '--format', 'ascii'])
  add(`attw ${manifest.name}`, types.status === 0, types.output)
}

/** A user's view: nothing but the tarballs and what they depend on. */
async function install(published, tarballs) {
  writeFileSync(join(scratch, 'package.json'), JSON.stringify({ private: true, type: 'module' }))
  const installed = await run('npm', ['install', '--prefix', scratch, '--no-audit', '--no-fund', ...tarballs])
  add('install in an empty folder', installed.status === 0, installed.output)
  if (installed.status !== 0) return
  const entries = published.flatMap(({ manifest }) =>
    Object.keys(manifest.exports)
      .filter((entry) => !entry.endsWith('.json'))
      .map((entry) => manifest.name + entry.slice(1)),
  )
  writeFileSync(
    join(scratch, 'import-all.mjs'),
    `for (const entry of ${JSON.stringify(entries)}) await import(entry)\n`,
  )
  const imported = await run(process.execPath, [join(scratch, 'import-all.mjs')])
  add(`import ${entries.length} entries`, imported.status === 0, imported.output)
  for (const program of ['netd', 'blkd']) {
    const { status, output } = await run(join(scratch, 'node_modules/.bin', program), ['--version'])
    add(`${program} --version`, status === 0, output)
  }
}

function add(name, passed, output) {
  results.push({ name, passed })
  console.error(`${passed ? 'ok    ' : 'FAILED'} ${name}`)
  if (!passed) console.error(output)
}
