// @ts-check
// QEMU's own benchmark of its block layer: the same image, the same order, no virtio.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { BLOCK, STEP } from './cases.mjs'

/** @param {string} image @param {import('./cases.mjs').Case} test @returns {Promise<number>} requests a second */
export async function measureQemuImg(image, { operation, depth, count }) {
  const counts = ['-c', `${count}`, '-d', `${depth}`, '-s', `${BLOCK}`, '-S', `${STEP * BLOCK}`]
  const words = ['bench', '-f', 'raw', ...counts, ...(operation === 'write' ? ['-w'] : []), image]
  const { stdout } = await promisify(execFile)('qemu-img', words)
  const seconds = Number(/completed in ([\d.]+) seconds/.exec(stdout)?.[1])
  if (!(seconds > 0)) throw new Error(`qemu-img bench said: ${stdout}`)
  return count / seconds
}
