import { readFileSync } from 'node:fs'

const AT_PAGESZ = 6

/** Bytes of a page of this machine, as the kernel tells every process. @param proc where procfs is mounted */
export function pageSize(proc = '/proc'): number {
  const vector = readFileSync(`${proc}/self/auxv`)
  // Pairs of 64 bits: what it is, and its value.
  for (let at = 0; at + 16 <= vector.length; at += 16)
    if (vector.readBigUInt64LE(at) === BigInt(AT_PAGESZ)) return Number(vector.readBigUInt64LE(at + 8))
  return 4096
}
