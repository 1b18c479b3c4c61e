// npm leaves an optional package out of package-lock.json when the registry it used could not serve it (a mirror that
// carries one platform's binaries only, or npm's own issue 4828), and `npm ci` then refuses the lock on every machine.
// This adds the missing entries: exact version, platform limits read from the name, no hash (npm fills it in when it
// can reach the package). Run it after `npm install` changed the lock; with --check it only reports.
import { readFileSync, writeFileSync } from 'node:fs'

const path = new URL('../package-lock.json', import.meta.url)
const lock = JSON.parse(readFileSync(path, 'utf8'))
const SYSTEMS = ['aix', 'android', 'darwin', 'freebsd', 'linux', 'netbsd', 'openbsd', 'openharmony', 'sunos', 'win32']
const PROCESSORS = ['arm64', 'arm', 'ia32', 'loong64', 'mips64el', 'ppc64', 'riscv64', 's390x', 'x64']

const missing = []
for (const [parent, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    if (!isLocked(parent, name)) missing.push({ name, version, parent, dev: entry.dev === true })
  }
}

if (process.argv.includes('--check')) {
  for (const { name, parent } of missing)
    console.error(`package-lock.json: no entry for ${name} (optional in ${parent})`)
  if (missing.length > 0) console.error('Run: node scripts/complete-lockfile.mjs')
  process.exit(missing.length > 0 ? 1 : 0)
}

for (const { name, version, dev } of missing) {
  if (!/^\d+\.\d+\.\d+/.test(version))
    throw new Error(`${name} is wanted as "${version}", which is not an exact version`)
  lock.packages[`node_modules/${name}`] = { version, ...(dev && { dev }), optional: true, ...platform(name) }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)))
writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`)
console.error(`${missing.length} entries added to package-lock.json`)

/** Node's own lookup: beside the parent, then upwards to the root. */
function isLocked(parent, name) {
  for (let at = parent; ; at = at.slice(0, Math.max(0, at.lastIndexOf('/node_modules/')))) {
    if (lock.packages[`${at === '' ? '' : `${at}/`}node_modules/${name}`] !== undefined) return true
    if (at === '') return false
  }
}

function platform(name) {
  const words = name
    .slice(name.indexOf('/') + 1)
    .replace('windows', 'win32')
    .split(/[-.]/)
  const os = SYSTEMS.find((system) => words.includes(system))
  const cpu = PROCESSORS.find((processor) => words.includes(processor)) ?? (words.includes('64') ? 'x64' : undefined)
  if (os === undefined || cpu === undefined) throw new Error(`cannot tell the platform of ${name} from its name`)
  const libc = words.some((word) => word.startsWith('musl'))
    ? 'musl'
    : words.some((word) => word.startsWith('gnu'))
      ? 'glibc'
      : undefined
  return { os: [os], cpu: [cpu], ...(os === 'linux' && libc !== undefined && { libc: [libc] }) }
}
