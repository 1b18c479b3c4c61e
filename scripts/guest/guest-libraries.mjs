// @ts-check
import { readdirSync, realpathSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { output } from './debian-packages.mjs'
import { GuestError } from './guest-error.mjs'

export const LOADER = 'usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2'

/**
 * Runs programs of an unpacked root folder on this machine, with the folder's own loader and libraries: what works here works in the
 * guest, and nothing of this machine slips in.
 */
export class GuestLibraries {
  #root
  #paths

  /** @param {string} root the folder, with the packages unpacked */
  constructor(root) {
    this.#root = realpathSync(root)
    const folders = readdirSync(join(root, 'usr/lib'), { recursive: true, withFileTypes: true })
      .filter((entry) => /\.so(\.|$)/.test(entry.name))
      .map((entry) => entry.parentPath ?? entry.path)
    this.#paths = [...new Set(folders)].join(':')
  }

  /**
   * The libraries of a program, as paths below the root.
   * @param {string} program its path on this machine
   * @returns {string[]}
   * @throws GuestError `guest.image` naming libraries that no package brought
   */
  of(program) {
    const listed = this.#loader(['--list', program])
    const lines = listed.split('\n').filter((line) => line.includes('=>') || line.includes('ld-linux'))
    const lost = lines.filter((line) => !line.includes('ld-linux') && !line.includes(`=> ${this.#root}/`))
    if (lost.length > 0) {
      throw new GuestError(
        'guest.image',
        `${program} needs libraries that the guest's packages do not have:\n${lost.join('\n')}\n` +
          '  Add their packages to scripts/guest/guest-packages.mjs; with a node of a distribution, use one from nodejs.org.',
      )
    }
    return lines
      .map((line) => /=> (\S+)/.exec(line)?.[1])
      .filter((path) => path !== undefined && path.startsWith(this.#root))
      .map((path) => String(path).slice(this.#root.length + 1))
  }

  /** Runs kmod as depmod on a folder that has lib/modules. @param {string} folder @param {string} version the kernel's */
  depmod(folder, version) {
    this.#loader(['--argv0', 'depmod', join(this.#root, 'usr/bin/kmod'), '-b', folder, version])
  }

  /** @param {readonly string[]} args */
  #loader(args) {
    const loader = join(this.#root, LOADER)
    return output(loader, ['--inhibit-cache', '--library-path', this.#paths, ...args], dirname(loader))
  }
}
