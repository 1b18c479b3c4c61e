// @ts-check
// Makes the guest's image: packages unpacked, the programs wanted taken from them with their libraries, node and modules added.
import {
  closeSync,
  cpSync,
  existsSync,
  openSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
} from 'node:fs'
import { renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { entriesBelow, writeCpio } from './cpio.mjs'
import { downloadPackages, output, unpackPackages } from './debian-packages.mjs'
import { GuestError } from './guest-error.mjs'
import { GuestLibraries, LOADER } from './guest-libraries.mjs'
import { BASE, BLOCK, BLOCK_LINKS, LINKS, MODULES } from './guest-packages.mjs'
import { copyModules } from './kernel-modules.mjs'
import { extractVmlinux } from './vmlinux.mjs'

/**
 * Makes kernel, base.cpio and block.cpio.
 * @param {import('./guest-image.mjs').Plan} plan @param {string} cache @param {string} folder which appears when it is complete
 */
export function makeImage(plan, cache, folder) {
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
    const [kernel, all] = [join(work, 'kernel'), join(work, 'all')]
    const [base, block] = [join(work, 'base'), join(work, 'block')]
    mkdirSync(packages, { recursive: true })
    unpack(plan.kernel, kernel)
    unpack(plan.programs, all)
    const libraries = new GuestLibraries(all)
    mergedFolders(base)
    takePrograms(all, base, libraries, BASE.programs, LINKS)
    takeNode(all, base, libraries)
    const version = copyModules(kernel, base, MODULES, (root, release) => libraries.depmod(root, release))
    mkdirSync(block)
    takePrograms(all, block, libraries, BLOCK.programs, BLOCK_LINKS)

    const image = join(work, 'image')
    mkdirSync(image)
    archive(join(image, 'base.cpio'), (writer) => {
      for (const path of ['proc', 'sys', 'dev', 'tmp', 'run', 'root', 'mnt', 'var', 'etc']) writer.add({ path })
      writer.addConsole()
      for (const entry of entriesBelow(base, '/')) writer.add(entry)
      // The last on PATH: only what is not there otherwise.
      const applets = output(join(base, 'usr/bin/busybox'), ['--list']).trim().split('\n')
      for (const name of applets) writer.add({ path: `usr/local/busybox/${name}`, target: '/usr/bin/busybox' })
    })
    const known = new Set(entriesBelow(base, '/').map(({ path }) => path))
    archive(join(image, 'block.cpio'), (writer) => {
      for (const entry of entriesBelow(block, '/')) if (!known.has(entry.path)) writer.add(entry)
    })
    const bzImage = join(
      kernel,
      'boot',
      readdirSync(join(kernel, 'boot')).find((name) => name.startsWith('vmlinuz')) ?? '',
    )
    writeFileSync(join(image, 'kernel'), extractVmlinux(bzImage) ?? readFileSync(bzImage))
    writeFileSync(join(image, 'version'), `${version}\n`)
    // Another process may have made it meanwhile.
    try {
      renameSync(image, folder)
    } catch (error) {
      if (!existsSync(folder)) throw error
    }
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/** @param {string} file @param {(writer: import('./cpio.mjs').CpioWriter) => void} fill */
function archive(file, fill) {
  const fd = openSync(file, 'w')
  try {
    writeCpio(fd, fill)
  } finally {
    closeSync(fd)
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
 * @param {readonly string[]} programs names @param {Readonly<Record<string, string>>} links below usr
 */
function takePrograms(from, to, libraries, programs, links) {
  const taken = programs.map((name) => {
    const path = ['usr/bin', 'usr/sbin']
      .map((folder) => join(folder, name))
      .find((found) => existsSync(join(from, found)))
    if (path === undefined) throw new GuestError('guest.image', `none of the guest's packages brought ${name}`)
    return path
  })
  // busybox is static.
  const needed = taken.filter((path) => !path.endsWith('/busybox')).flatMap((path) => libraries.of(join(from, path)))
  for (const path of new Set([...taken, ...needed, LOADER])) copy(from, path, to)
  for (const [path, target] of Object.entries(links)) {
    mkdirSync(dirname(join(to, 'usr', path)), { recursive: true })
    symlinkSync(target, join(to, 'usr', path))
  }
}

/** This machine's own. @param {string} from @param {string} to @param {GuestLibraries} libraries */
function takeNode(from, to, libraries) {
  for (const path of libraries.of(process.execPath)) copy(from, path, to)
  cpSync(realpathSync(process.execPath), join(to, 'usr/bin/node'))
}

/** A file, or what a link leads to. @param {string} root @param {string} path below it @param {string} to another root */
function copy(root, path, to) {
  const file = realpathSync(join(root, path))
  // An absolute link would lead to this machine's own file.
  if (!file.startsWith(`${realpathSync(root)}/`)) throw new GuestError('guest.image', `${path} leads to ${file}`)
  mkdirSync(dirname(join(to, path)), { recursive: true })
  cpSync(file, join(to, path))
}
