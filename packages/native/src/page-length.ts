import { readFileSync } from 'node:fs'

// linux/auxvec.h
const AT_PAGESZ = 6
const ENTRY_LENGTH = 16

let known: number | undefined

/** Bytes of a base page of this system: 4096 nearly everywhere. From the auxiliary vector, as the C library has it. */
export function pageLength(): number {
  known ??= fromAuxiliaryVector(readFileSync('/proc/self/auxv'))
  return known
}

function fromAuxiliaryVector(vector: Uint8Array): number {
  const words = new DataView(vector.buffer, vector.byteOffset, vector.byteLength)
  for (let at = 0; at + ENTRY_LENGTH <= words.byteLength; at += ENTRY_LENGTH) {
    if (words.getBigUint64(at, true) === BigInt(AT_PAGESZ)) return Number(words.getBigUint64(at + 8, true))
  }
  throw new Error('the kernel does not say how long a page is (no AT_PAGESZ in /proc/self/auxv)')
}
