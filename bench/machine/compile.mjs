// @ts-check
// C programs of the benchmarks: the other side, the anchor, the measure of the machine. Nothing that is published contains any C.
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { temporaryFolder } from './temporary-folder.mjs'

/** @param {string} name path of a source below bench/, without its `.c` @returns {string} path of the program, gone when this process exits */
export function compile(name) {
  const program = join(temporaryFolder(), name.replaceAll('/', '-'))
  const source = fileURLToPath(new URL(`../${name}.c`, import.meta.url))
  try {
    execFileSync('cc', ['-O3', '-march=native', '-pthread', '-Wno-unused-result', '-o', program, source])
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') {
      throw new Error(
        `there is no C compiler (cc) on this machine, and this benchmark builds bench/${name}.c: install gcc or clang`,
      )
    }
    throw error
  }
  return program
}
