// @ts-check
// Writes archives in the format the Linux kernel unpacks at boot ("newc" cpio), without cpio(1) and without root.
import { lstatSync, readdirSync, readFileSync, readlinkSync, statSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'

/**
 * One file in the archive, at an absolute path. Exactly one of `data` (its content), `from` (a file with its content) and
 * `target` (a symbolic link's) says what it is; without any of them it is a directory. `mode` has the permissions only.
 * @typedef {{ path: string, data?: string | Uint8Array, from?: string, target?: string, mode?: number }} Entry
 */

const DIRECTORY = 0o040000
const REGULAR = 0o100000
const LINK = 0o120000
const CHARACTER_DEVICE = 0o020000

/** An archive that is being written. Directories above an entry need no entry of their own. */
export class CpioWriter {
  #fd
  #inode = 0
  #directories = new Set(['', '.'])

  /** @param {number} fd a file open for writing, at the place where the archive begins; stays the caller's */
  constructor(fd) {
    this.#fd = fd
  }

  /** @param {Entry} entry */
  add({ path, data, from, target, mode }) {
    const name = path.replace(/^\/+/, '')
    this.#directoriesAbove(name)
    if (target !== undefined) return this.#write(name, LINK | 0o777, Buffer.from(target))
    if (from !== undefined) {
      return this.#write(name, REGULAR | (mode ?? statSync(from).mode & 0o777), readFileSync(from))
    }
    if (data !== undefined) return this.#write(name, REGULAR | (mode ?? 0o644), Buffer.from(data))
    if (this.#directories.has(name)) return
    this.#directories.add(name)
    this.#write(name, DIRECTORY | (mode ?? 0o755), Buffer.alloc(0))
  }

  /** The kernel opens it before anything is mounted on /dev. */
  addConsole() {
    this.#directoriesAbove('dev/console')
    this.#write('dev/console', CHARACTER_DEVICE | 0o600, Buffer.alloc(0), { major: 5, minor: 1 })
  }

  /** Ends the archive; another may follow in the same file. */
  end() {
    this.#write('TRAILER!!!', 0, Buffer.alloc(0))
  }

  /** @param {string} name */
  #directoriesAbove(name) {
    const parent = dirname(name)
    if (!this.#directories.has(parent)) this.add({ path: parent })
  }

  /** @param {string} name @param {number} mode @param {Buffer} content @param {{ major: number, minor: number }} [device] */
  #write(name, mode, content, device = { major: 0, minor: 0 }) {
    this.#inode += 1
    const nameBytes = Buffer.from(`${name}\0`)
    const fields = [
      this.#inode,
      mode,
      // user, group, links, modification time
      ...[0, 0, 1, 0],
      content.length,
      ...[0, 0, device.major, device.minor],
      nameBytes.length,
      0,
    ]
    const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`
    this.#put(padded(Buffer.concat([Buffer.from(header), nameBytes])))
    this.#put(padded(content))
  }

  /** @param {Buffer} bytes */
  #put(bytes) {
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at)
  }
}

/** Writes a whole archive. @param {number} fd where it begins; stays the caller's @param {(writer: CpioWriter) => void} fill */
export function writeCpio(fd, fill) {
  const writer = new CpioWriter(fd)
  fill(writer)
  writer.end()
}

/**
 * What lies below a folder, as entries below `to`. Links stay links.
 * @param {string} folder @param {string} to
 * @param {(path: string) => boolean} [takes] which files, by their path below `folder`; folders are always entered
 * @returns {Entry[]}
 */
export function entriesBelow(folder, to, takes = () => true) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(folder.length + 1))
    .filter((path) => !lstatSync(join(folder, path)).isDirectory() && takes(path))
    .sort()
    .map((path) => {
      const from = join(folder, path)
      return lstatSync(from).isSymbolicLink()
        ? { path: join(to, path), target: readlinkSync(from) }
        : { path: join(to, path), from }
    })
}

/** @param {Buffer} bytes */
function padded(bytes) {
  const missing = -bytes.length & 3
  return missing === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(missing)])
}
