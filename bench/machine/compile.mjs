// @ts-check
// C programs of the benchmarks: the other side, the anchor, the measure of the machine. Nothing that is published contains any C.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** @type {string | undefined} */ let folder

/** @param {string} name path of a source below bench/, without its `.c` @returns {string} path of the program, gone when this process exits */
export function compile(name) {
  if (folder === undefined) {
    const made = mkdtempSync(join(tmpdir(), 'virtio-ts-bench-'))
    process.on('exit', () => rmSync(made, { recursive: true, force: true }))
    folder = made
  }
  const program = join(folder, name.replaceAll('/', '-'))
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
