// @ts-check
// Debian packages without installing them: resolved by apt's own lists, downloaded by apt-get, unpacked by dpkg-deb. No root needed.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { GuestError } from './guest-error.mjs'

/** A package as apt knows it. @typedef {{ name: string, file: string }} DebianPackage */

/** Libraries come along; programs that packages merely depend on (perl, debconf) do not. */
const LIBRARY = /^(lib(?!perl|python|pam|semanage|file-find)|zlib1g$)/

/**
 * These packages and the libraries they need, at the versions apt would install.
 * @param {readonly string[]} names @param {RegExp} [follows] which of the packages they depend on to take
 * @returns {DebianPackage[]} sorted by name
 */
export function resolvePackages(names, follows = LIBRARY) {
  const depends = apt('apt-cache', ['depends', '--recurse', '--important', ...names])
  const dependencies = depends.split('\n').filter((line) => /^[a-z0-9][a-z0-9+.-]*$/.test(line) && follows.test(line))
  const all = [...new Set([...names, ...dependencies])].sort()
  // One line each: 'URL' FILE SIZE HASH. A purely virtual package stops apt-get, hence only what has a candidate.
  const uris = apt('apt-get', ['download', '--print-uris', ...withCandidate(all)])
  return [...uris.matchAll(/^'\S+' (\S+) \d+/gm)].map(([, file = '']) => ({ name: file.split('_')[0] ?? '', file }))
}

/** The first of these that apt's lists have, or undefined. @param {readonly string[]} names */
export function firstAvailable(names) {
  return withCandidate(names)[0]
}

/** In one question: apt reads all its lists for each. @param {readonly string[]} names */
function withCandidate(names) {
  const policy = apt('apt-cache', ['policy', ...names])
  const found = [...policy.matchAll(/^(\S+):\n {2}Installed: .*\n {2}Candidate: (?!\(none\))/gm)].map(
    ([, name]) => name,
  )
  return names.filter((name) => found.includes(name))
}

/** Downloads what is not in `folder` yet. @param {readonly DebianPackage[]} packages @param {string} folder */
export function downloadPackages(packages, folder) {
  const missing = packages.filter(({ file }) => !existsSync(join(folder, file)))
  if (missing.length === 0) return
  // In a folder of its own first: what is interrupted must not be taken for complete.
  const partial = join(folder, `partial-${process.pid}`)
  mkdirSync(partial, { recursive: true })
  try {
    const pinned = missing.map(({ name, file }) => `${name}=${decodeURIComponent(file.split('_')[1] ?? '')}`)
    apt('apt-get', ['download', '-q', '-o', 'APT::Sandbox::User=root', ...pinned], partial)
    for (const { file } of missing) renameSync(join(partial, file), join(folder, file))
  } finally {
    rmSync(partial, { recursive: true, force: true })
  }
}

/** Unpacks packages over each other into `root`, with /bin, /sbin and /lib inside /usr. @param {readonly string[]} files @param {string} root */
export function unpackPackages(files, root) {
  const script = 'dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" --keep-directory-symlink --no-same-owner'
  for (const file of files) output('sh', ['-c', `set -e; ${script}`, 'sh', file, root])
}

/**
 * Containers often tell apt to keep no index of its lists, which then costs a second for each question: it is kept with the images.
 * @param {'apt-cache' | 'apt-get'} command @param {readonly string[]} args @param {string} [cwd]
 */
function apt(command, args, cwd) {
  const index = ['pkgcache', 'srcpkgcache'].flatMap((name) => [
    '-o',
    `Dir::Cache::${name}=${cacheFolder()}/${name}.bin`,
  ])
  return output(command, [...index, ...args], cwd)
}

/** Where images and packages are kept, for all checkouts of a user. Nothing breaks when it is deleted. */
export function cacheFolder() {
  const base = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache')
  const folder = join(base, 'virtio-ts/guest')
  mkdirSync(folder, { recursive: true })
  return folder
}

/** @param {string} command @param {readonly string[]} args @param {string} [cwd] */
export function output(command, args, cwd) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    env: { ...process.env, LC_ALL: 'C' },
  })
  if (error !== undefined && /** @type {NodeJS.ErrnoException} */ (error).code === 'ENOENT') {
    throw new GuestError(
      'guest.missing',
      `${command} is not installed: the guest is made from Debian packages, which needs a Debian or Ubuntu machine`,
    )
  }
  if (status === 0) return stdout
  throw new GuestError(
    'guest.image',
    `${[command, ...args].join(' ').slice(0, 300)} failed (${status ?? error}): ${stderr.trim().slice(-1000)}\n` +
      "  If apt does not know the packages, its lists are missing or old: run 'apt-get update' as root.",
  )
}
