// @ts-check
/**
 * One line of a benchmark: medians of `n` alternating measurements of ours and of the peer. NaN, which JSON and tables show as nothing,
 * where there is no such figure.
 * @typedef {{ case: string, ours: number, peer: number, ratio: number, unit: string, n: number }} Row
 */

/** @param {readonly number[]} values @returns {number} */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2
}

/**
 * Measures two things in turn, A B A B ..., so that a machine that changes its speed changes both.
 * @param {string} name @param {string} unit @param {number} n
 * @param {() => number | Promise<number>} ours @param {() => number | Promise<number>} peer
 * @returns {Promise<Row>}
 */
export async function alternate(name, unit, n, ours, peer) {
  /** @type {number[]} */ const a = []
  /** @type {number[]} */ const b = []
  for (let i = 0; i < n; i++) {
    a.push(await ours())
    b.push(await peer())
  }
  return {
    case: name,
    ours: median(a),
    peer: median(b),
    ratio: median(a.map((value, i) => value / /** @type {number} */ (b[i]))),
    unit,
    n,
  }
}

/** @param {number} value */
const rounded = (value) => (Number.isNaN(value) ? null : Number(value.toPrecision(3)))

/** @param {Row} row */
export function formatRow({ ours, peer, ratio, ...rest }) {
  return JSON.stringify({ ...rest, ours: rounded(ours), peer: rounded(peer), ratio: rounded(ratio) })
}

/** @param {number} value */
const cell = (value) => rounded(value) ?? '–'

/** A Markdown table, as docs/performance.md has it. @param {Row[]} rows */
export function formatTable(rows) {
  const lines = rows.map(
    (row) => `| ${row.case} | ${cell(row.ours)} | ${cell(row.peer)} | ${cell(row.ratio)} | ${row.unit} | ${row.n} |`,
  )
  return ['| case | ours | peer | ours / peer | unit | n |', '|---|---:|---:|---:|---|---:|', ...lines].join('\n')
}
