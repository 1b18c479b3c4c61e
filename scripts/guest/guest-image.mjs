// @ts-check
// Kernel and root file system of the guest, made from Debian packages and this machine's node; kept for all checkouts of a user.
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, realpathSync } from 'node:fs'
import { renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { entriesBelow, writeCpio } from './cpio.mjs'
import { downloadPackages, firstAvailable, output, resolvePackages, unpackPackages } from './debian-packages.mjs'
import { GuestError } from './guest-error.mjs'
import { GuestLibraries, LOADER } from './guest-libraries.mjs'
import { BASE, BLOCK, BLOCK_LINKS, KERNELS, LINKS, MODULES } from './guest-packages.mjs'
import { copyModules } from './kernel-modules.mjs'
import { extractVmlinux } from './vmlinux.mjs'

/** Paths of files. @typedef {{ kernel: string, base: string, block: string }} GuestImage */

/** The image for this machine's node and apt's present versions; made where it is not there yet (10-20 s). @returns {GuestImage} */
export function guestImage() {
  const cache = cacheFolder()
  const folder = join(cache, imageKey(cache))
  if (!existsSync(folder)) make(cache, folder)
  return { kernel: join(folder, 'kernel'), base: join(folder, 'base.cpio'), block: join(folder, 'block.cpio') }
}

/** Where images and packages are kept. Nothing breaks when it is deleted. */
export function cacheFolder() {
  const base = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache')
  const folder = join(base, 'virtio-ts/guest')
  mkdirSync(folder, { recursive: true })
  return folder
}

/** Depends on the versions of all packages, on node, and on the modules of this folder that make images. @param {string} cache */
function imageKey(cache) {
  const recipe = createHash('sha256')
  const makers = [
    'cpio',
    'debian-packages',
    'guest-image',
    'guest-libraries',
    'guest-packages',
    'kernel-modules',
    'vmlinux',
  ]
  for (const name of makers) recipe.update(readFileSync(new URL(`${name}.mjs`, import.meta.url)))
  recipe.update(
    `${process.version} ${process.arch} ${realpathSync(process.execPath)} ${statSync(process.execPath).size}`,
  )
  // To ask apt takes a second: its answer holds until its lists change.
  const lists = ['/var/lib/apt/lists', '/var/cache/apt/pkgcache.bin', '/etc/apt/sources.list.d']
  for (const path of lists) recipe.update(`${path} ${existsSync(path) ? statSync(path).mtimeMs : 'none'}`)
  const memo = join(cache, `resolved-${recipe.digest('hex').slice(0, 16)}`)
  if (!existsSync(memo)) {
    const files = Object.values(resolved()).flatMap((packages) => packages.map(({ file }) => file))
    const key = createHash('sha256').update(memo.replace(/.*-/, '')).update(files.join()).digest('hex').slice(0, 16)
    writeFileSync(`${memo}.${process.pid}`, key)
    renameSync(`${memo}.${process.pid}`, memo)
  }
  return readFileSync(memo, 'utf8')
}

/** What apt would install now: the kernel's, the base's and the block part's packages. */
function resolved() {
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

/** @param {string} cache @param {string} folder which appears when it is complete */
function make(cache, folder) {
  const work = mkdtempSync(join(cache, 'making-'))
  try {
    const packages = join(cache, 'packages')
    /** @param {readonly import('./debian-packages.mjs').DebianPackage[]} wanted @param {string} root */
    const unpack = (wanted, root) => {
      mergedFolders(root)
      downloadPackages(wanted, packages)
      unpackPackages(
        wanted.map(({ file }) => join(packages, file)),
        root,
      )
    }
    const [kernel, all, base, block] = ['kernel', 'all', 'base', 'block'].map((name) => join(work, name))
    if (kernel === undefined || all === undefined || base === undefined || block === undefined)
      throw new Error('unreachable')
    mkdirSync(packages, { recursive: true })
    const wanted = resolved()
    unpack(wanted.kernel, kernel)
    unpack(wanted.programs, all)
    const libraries = new GuestLibraries(all)
    mergedFolders(base)
    takePrograms(all, base, libraries, BASE.programs, LINKS)
    takeNode(all, base, libraries)
    const version = copyModules(kernel, base, MODULES, (root, release) => libraries.depmod(root, release))
    mkdirSync(block)
    takePrograms(all, block, libraries, BLOCK.programs, BLOCK_LINKS)

    const image = join(work, 'image')
    mkdirSync(image)
    writeCpio(join(image, 'base.cpio'), (writer) => {
      for (const path of ['proc', 'sys', 'dev', 'tmp', 'run', 'root', 'mnt', 'var', 'etc']) writer.add({ path })
      writer.addConsole()
      for (const entry of entriesBelow(base, '/')) writer.add(entry)
      // The last on PATH: only what is not there otherwise.
      const applets = output(join(base, 'usr/bin/busybox'), ['--list']).trim().split('\n')
      for (const name of applets) writer.add({ path: `usr/local/busybox/${name}`, target: '/usr/bin/busybox' })
    })
    const known = new Set(entriesBelow(base, '/').map(({ path }) => path))
    writeCpio(join(image, 'block.cpio'), (writer) => {
      for (const entry of entriesBelow(block, '/')) if (!known.has(entry.path)) writer.add(entry)
    })
    const bzImage = join(
      kernel,
      'boot',
      readdirSync(join(kernel, 'boot')).find((name) => name.startsWith('vmlinuz')) ?? '',
    )
    writeFileSync(join(image, 'kernel'), extractVmlinux(bzImage) ?? readFileSync(bzImage))
    writeFileSync(join(image, 'version'), `${version}\n`)
    if (!existsSync(folder)) renameSync(image, folder)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/** Packages still have /bin and /lib of their own. @param {string} root */
function mergedFolders(root) {
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) {
    mkdirSync(join(root, 'usr', name), { recursive: true })
    symlinkSync(`usr/${name}`, join(root, name))
  }
}

/**
 * @param {string} from @param {string} to @param {GuestLibraries} libraries
 * @param {readonly string[]} programs below usr @param {Readonly<Record<string, string>>} links
 */
function takePrograms(from, to, libraries, programs, links) {
  const isProgram = (/** @type {string} */ path) => existsSync(join(from, 'usr', path))
  const absent = programs.filter((path) => !isProgram(path))
  if (absent.length > 0) throw new GuestError('guest.image', `no package brought ${absent.join(', ')}`)
  const taken = programs.map((path) => `usr/${path}`)
  const isStatic = (/** @type {string} */ path) => path === 'usr/bin/busybox'
  const needed = taken.filter((path) => !isStatic(path)).flatMap((path) => libraries.of(join(from, path)))
  for (const path of new Set([...taken, ...needed, LOADER])) copy(join(from, path), join(to, path))
  for (const [path, target] of Object.entries(links)) {
    mkdirSync(dirname(join(to, 'usr', path)), { recursive: true })
    symlinkSync(target, join(to, 'usr', path))
  }
}

/** This machine's own. @param {string} from @param {string} to @param {GuestLibraries} libraries */
function takeNode(from, to, libraries) {
  for (const path of libraries.of(process.execPath)) copy(join(from, path), join(to, path))
  copy(process.execPath, join(to, 'usr/bin/node'))
}

/** A file, or what a link leads to. @param {string} from @param {string} to */
function copy(from, to) {
  mkdirSync(dirname(to), { recursive: true })
  cpSync(realpathSync(from), to)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(JSON.stringify(guestImage()))
