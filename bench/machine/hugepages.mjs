// @ts-check
// Huge pages for the time of a benchmark: made before, given back after, also when it fails or is interrupted.
import { readFileSync, writeFileSync } from 'node:fs'

const PAGE_KIB = 2048
const pool = `/sys/kernel/mm/hugepages/hugepages-${PAGE_KIB}kB`

/** @param {number} mebibytes @returns {() => void} gives them back, as the end of this process does, unless it is a SIGKILL */
export function takeHugepages(mebibytes) {
  const wanted = Math.ceil((mebibytes * 1024) / PAGE_KIB)
  const before = pages()
  try {
    writeFileSync(`${pool}/nr_hugepages`, String(before + wanted))
  } catch (error) {
    throw new Error(`${wanted} huge pages of ${PAGE_KIB} KiB are needed, and this may not make them: run it as root`, {
      cause: error,
    })
  }
  let taken = pages() - before
  const giveBack = () => {
    // Others may have made some, or given theirs back, meanwhile.
    if (taken > 0) writeFileSync(`${pool}/nr_hugepages`, String(Math.max(0, pages() - taken)))
    taken = 0
  }
  if (taken < wanted) {
    const got = taken
    giveBack()
    throw new Error(`${wanted} huge pages of ${PAGE_KIB} KiB are needed, ${got} are to be had: free some memory`)
  }
  process.once('exit', giveBack)
  return giveBack
}

/** Those that are to stay: pages given back while a process that is about to end still had them are counted, but go with it. */
function pages() {
  const count = (/** @type {string} */ name) => Number(readFileSync(`${pool}/${name}`, 'utf8'))
  return count('nr_hugepages') - count('surplus_hugepages')
}
