// @ts-check
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { GuestError } from './guest-error.mjs'

/**
 * Copies modules, and those they need, into a guest's root, and makes the tables modprobe reads.
 * @param {string} kernel folder with the kernel's package, lib/modules in it
 * @param {string} root of the guest
 * @param {readonly string[]} names
 * @param {(folder: string, version: string) => void} depmod
 * @returns {string} the kernel's version
 */
export function copyModules(kernel, root, names, depmod) {
  const folder = join(kernel, 'usr/lib/modules')
  const [version] = existsSync(folder) ? readdirSync(folder) : []
  if (version === undefined) throw new GuestError('guest.image', `the kernel's package has no modules (${folder})`)
  depmod(join(kernel, 'usr'), version)
  const all = dependencies(readFileSync(join(folder, version, 'modules.dep'), 'utf8'))
  const wanted = new Set(names.map(underscored))
  const paths = new Set([...all].flatMap(([path, needs]) => (wanted.has(moduleName(path)) ? [path, ...needs] : [])))
  const tables = ['modules.order', 'modules.builtin', 'modules.builtin.modinfo']
  for (const path of [...paths, ...tables.filter((name) => existsSync(join(folder, version, name)))]) {
    const to = join(root, 'usr/lib/modules', version, path)
    mkdirSync(dirname(to), { recursive: true })
    cpSync(join(folder, version, path), to)
  }
  depmod(join(root, 'usr'), version)
  return version
}

/** Of modules.dep: each module's path, and the paths of all it needs. @param {string} text */
function dependencies(text) {
  const lines = text.split('\n').filter((line) => line !== '')
  return new Map(
    lines.map((line) => {
      const [path = '', needs = ''] = line.split(':')
      return [
        path,
        needs
          .trim()
          .split(' ')
          .filter((need) => need !== ''),
      ]
    }),
  )
}

/** @param {string} path */
function moduleName(path) {
  return underscored(basename(path).replace(/\.ko(\.\w+)?$/, ''))
}

/** @param {string} name */
function underscored(name) {
  return name.replaceAll('-', '_')
}
