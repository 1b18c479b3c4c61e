// @ts-check
// Kernel and root file system of the guest: which ones belong to this machine's node and apt's versions, and where they are kept.
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, realpathSync, renameSync, rmSync, statSync, utimesSync } from 'node:fs'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cacheFolder, firstAvailable, resolvePackages } from './debian-packages.mjs'
import { GuestError } from './guest-error.mjs'
import { BASE, BLOCK, KERNELS } from './guest-packages.mjs'
import { makeImage } from './make-image.mjs'

/** Paths of files. @typedef {{ kernel: string, base: string, block: string }} GuestImage */

/** What an image is made from. @typedef {{ key: string, kernel: DebianPackage[], programs: DebianPackage[] }} Plan */
/** @typedef {import('./debian-packages.mjs').DebianPackage} DebianPackage */

/** The modules of this folder that an image depends on. */
const MAKERS = [
  'cpio',
  'debian-packages',
  'guest-libraries',
  'guest-packages',
  'kernel-modules',
  'make-image',
  'vmlinux',
]
/** What has not been used for so long is deleted when something new is made. In milliseconds. */
const UNUSED = 7 * 24 * 3600 * 1000

/**
 * The image for this machine's node and apt's present versions; made where it is not there yet, which takes 10-30 s.
 * @returns {GuestImage}
 * @throws GuestError `guest.missing`, `guest.image`
 */
export function guestImage() {
  const cache = cacheFolder()
  const plan = planFor(cache)
  const folder = join(cache, plan.key)
  if (!existsSync(folder)) {
    prune(cache)
    makeImage(plan, cache, folder)
  }
  utimesSync(folder, new Date(), new Date())
  return { kernel: join(folder, 'kernel'), base: join(folder, 'base.cpio'), block: join(folder, 'block.cpio') }
}

/** @param {string} cache @returns {Plan} */
function planFor(cache) {
  const node = realpathSync(process.execPath)
  const recipe = [
    ...MAKERS.map((name) => readFileSync(new URL(`${name}.mjs`, import.meta.url), 'utf8')),
    `${process.version} ${node} ${statSync(node).size} ${statSync(node).mtimeMs}`,
  ]
  // To ask apt takes seconds: its answer holds until its lists change.
  const lists = ['/var/lib/apt/lists', '/etc/apt/sources.list.d', '/etc/apt/sources.list']
  const times = lists.map((path) => (existsSync(path) ? statSync(path).mtimeMs : 0))
  const memo = join(cache, `plan-${hash([...recipe, ...times.map(String)])}.json`)
  if (!existsSync(memo)) {
    const wanted = resolve()
    const files = [...wanted.kernel, ...wanted.programs].map(({ file }) => file)
    writeFileSync(`${memo}.${process.pid}`, JSON.stringify({ key: hash([...recipe, ...files]), ...wanted }))
    renameSync(`${memo}.${process.pid}`, memo)
  }
  return JSON.parse(readFileSync(memo, 'utf8'))
}

/** What apt would install now. @returns {Omit<Plan, 'key'>} */
function resolve() {
  const name = firstAvailable(KERNELS)
  if (name === undefined) {
    throw new GuestError(
      'guest.missing',
      `apt knows none of the packages ${KERNELS.join(', ')}: run 'apt-get update' as root; on other distributions there is no guest`,
    )
  }
  const kernel = resolvePackages([name], /^linux-(image|modules)-(unsigned-)?\d/).filter((found) => found.name !== name)
  return { kernel, programs: resolvePackages([...BASE.packages, ...BLOCK.packages]) }
}

/** @param {readonly string[]} parts */
function hash(parts) {
  return createHash('sha256').update(parts.join('\0')).digest('hex').slice(0, 16)
}

/** @param {string} cache */
function prune(cache) {
  const old = (/** @type {string} */ path) => Date.now() - statSync(path).mtimeMs > UNUSED
  const names = readdirSync(cache).filter((name) => /^([0-9a-f]{16}|making-.*|plan-.*)$/.test(name))
  for (const path of names.map((name) => join(cache, name)).filter(old)) rmSync(path, { recursive: true, force: true })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(JSON.stringify(guestImage()))
