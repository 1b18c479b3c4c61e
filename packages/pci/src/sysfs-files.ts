import { constants, existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { basename, join } from 'node:path'

/** sysfs as binding needs it: paths are relative to where it is mounted. Tests put a kernel of their own behind it. */
export interface SysfsFiles {
  exists(path: string): boolean
  /** Without its final line feed; undefined where it cannot be read. */
  readText(path: string): string | undefined
  /** The last part of what a symbolic link points to: so sysfs names a driver or a group. */
  linkName(path: string): string | undefined
  /** Names in a directory, sorted; none where it cannot be read. */
  list(path: string): readonly string[]
  /**
   * Writes to an attribute that is there. In another thread: the kernel may take as long as a driver needs to let go.
   * @throws the system's error
   */
  write(path: string, text: string): Promise<void>
}

/** The kernel's own. @param root where sysfs is mounted */
export function sysfsFiles(root = '/sys'): SysfsFiles {
  const unless = <T, U>(attempt: () => T, otherwise: U): T | U => {
    try {
      return attempt()
    } catch {
      return otherwise
    }
  }
  return {
    exists: (path) => existsSync(join(root, path)),
    readText: (path) => unless(() => readFileSync(join(root, path), 'utf8').trimEnd(), undefined),
    linkName: (path) => unless(() => basename(readlinkSync(join(root, path))), undefined),
    list: (path) => unless(() => readdirSync(join(root, path)).sort(), []),
    async write(path, text) {
      // Attributes such as `unbind` cannot be opened for reading, and no file is to be made where one is missing.
      const file = await open(join(root, path), constants.O_WRONLY)
      try {
        await file.writeFile(text)
      } finally {
        await file.close()
      }
    },
  }
}
