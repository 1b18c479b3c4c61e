// @ts-check
// What makes the requests in the guest: commands, and what is read from what they say.
import { BLOCK } from './cases.mjs'

/** @typedef {import('./cases.mjs').Result} Result */

/**
 * `warmUp` and `seconds` that one turn takes; fio and the kernel need hardly any of the first, node's compiler does.
 * @typedef {{ operation: 'read' | 'write', depth: number, warmUp: number, seconds: number }} Load
 */

/** @typedef {{ command: (target: string, load: Load) => string[], read: (stdout: string) => Result }} Tool */

/** The kernel's driver, below its page cache. @satisfies {Tool} */
export const fio = {
  /** @param {string} target @param {Load} load */
  command: (target, { operation, depth, warmUp, seconds }) => [
    ...['fio', '--name=bench', `--filename=${target}`, '--ioengine=libaio', '--direct=1', '--thread'],
    ...[`--rw=rand${operation}`, `--bs=${BLOCK}`, `--iodepth=${depth}`],
    // Anywhere, as blkd does, without a record of where it has been.
    ...['--norandommap', '--randrepeat=0'],
    ...['--time_based', `--runtime=${seconds}`, `--ramp_time=${warmUp}`],
    // From the request to its end, as blkd does; without it, from when the kernel has taken it.
    ...['--lat_percentiles=1', '--clat_percentiles=0', '--output-format=json'],
  ],
  /** @param {string} stdout */
  read(stdout) {
    const [job] = JSON.parse(stdout).jobs
    if (job.error !== 0) throw new Error(`fio ended with error ${job.error}`)
    const { iops, lat_ns: latency } = job.read.total_ios > 0 ? job.read : job.write
    const { '50.000000': median, '99.000000': p99 } = latency.percentile ?? {}
    return checked('fio', { rate: iops, median: median / 1e3, p99: p99 / 1e3 })
  },
}

/** Ours, through VFIO. @satisfies {Tool} */
export const blkd = {
  /** @param {string} target @param {Load} load */
  command: (target, { operation, depth, warmUp, seconds }) => [
    ...['blkd', 'bench', target, '--json', operation === 'read' ? '--read' : '--write-destroys-data'],
    ...['--depth', `${depth}`, '--length', `${BLOCK}`, '--warm-up', `${warmUp}`, '--seconds', `${seconds}`],
  ],
  /** @param {string} stdout */
  read(stdout) {
    const { iops, latency } = JSON.parse(stdout)
    return checked('blkd', { rate: iops, median: latency.p50, p99: latency.p99 })
  },
}

/** @param {string} tool @param {Result} result @returns {Result} @throws Error when there is nothing in it */
function checked(tool, result) {
  if (Object.values(result).every((value) => value > 0)) return result
  throw new Error(`${tool} made no requests: ${JSON.stringify(result)}`)
}
