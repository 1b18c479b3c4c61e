// Finds out whether somebody writes into memory that is nobody's: at each line of stdin it takes what is free, fills it, waits, looks, and gives
// it back. "huge": the huge pages that are free; "ordinary": ordinary memory. Answers with what it had, and what was different.
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { hugetlbDma } from '@virtio-ts/memory/hugetlb'

const MEBIBYTE = 1 << 20
const pattern = 0x5a
const page = Buffer.alloc(MEBIBYTE, pattern)
const limit = 256

function meminfo(name) {
  return Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readFileSync('/proc/meminfo', 'utf8'))[1])
}

/** @returns pieces of a mebibyte, and what gives them back */
function take(kind) {
  if (kind === 'ordinary') {
    const count = Math.min(limit, Math.floor((meminfo('MemFree') / 1024) * 0.7))
    return { pieces: Array.from({ length: count }, () => Buffer.alloc(MEBIBYTE, pattern)), giveBack: () => {} }
  }
  const length = meminfo('HugePages_Free') * 2 * MEBIBYTE
  if (length === 0) return { pieces: [], giveBack: () => {} }
  const memory = hugetlbDma(length)
  const region = memory.allocate(length)
  const bytes = Buffer.from(region.bytes.buffer, region.bytes.byteOffset, region.bytes.length)
  bytes.fill(pattern)
  const pieces = Array.from({ length: bytes.length / MEBIBYTE }, (_, i) =>
    bytes.subarray(i * MEBIBYTE, (i + 1) * MEBIBYTE),
  )
  return {
    pieces,
    giveBack: () => {
      memory.free(region)
      memory.close()
    },
  }
}

console.log('canary')
for await (const line of createInterface({ input: process.stdin })) {
  const { id, kind } = JSON.parse(line)
  const { pieces, giveBack } = take(kind)
  console.log(`filled ${id}`)
  await sleep(1000)
  const changed = pieces.filter((piece) => !piece.equals(page)).length
  giveBack()
  console.log(JSON.stringify({ id, mebibytes: pieces.length, changed }))
}
