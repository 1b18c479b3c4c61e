import { readFile } from 'node:fs/promises'

/** The text of a small file of the kernel's, or undefined where it cannot be read. */
export async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch {
    return undefined
  }
}
