// @ts-check
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'

/** How each format begins, and what unpacks it. */
const FORMATS = [
  { magic: 'fd377a585a00', command: ['xz', '-dc', '--single-stream'] },
  { magic: '28b52ffd', command: ['zstd', '-dcq'] },
  { magic: '02214c18', command: ['lz4', '-dcq'] },
]

/**
 * The kernel inside a bzImage. QEMU starts it directly (PVH), which saves the guest unpacking itself: seconds without KVM.
 * @param {string} bzImage its path
 * @returns {Buffer | undefined} undefined where the unpacking program is missing: the bzImage boots too, later
 */
export function extractVmlinux(bzImage) {
  const image = readFileSync(bzImage)
  // The kernel's "x86 boot protocol": setup_sects, payload_offset, payload_length.
  const start = (image.readUInt8(0x1f1) + 1) * 512 + image.readUInt32LE(0x248)
  const payload = image.subarray(start, start + image.readUInt32LE(0x24c))
  const vmlinux = unpack(payload)
  return vmlinux?.subarray(0, 4).toString('latin1') === '\x7fELF' ? vmlinux : undefined
}

/** @param {Buffer} payload @returns {Buffer | undefined} */
function unpack(payload) {
  if (payload.readUInt16BE(0) === 0x1f8b) return gunzipSync(payload)
  const command = FORMATS.find(({ magic }) => payload.toString('hex', 0, magic.length / 2) === magic)?.command
  if (command === undefined) return undefined
  const [file = '', ...args] = command
  // The status does not tell: the size of the kernel follows the compressed data, which some programs call garbage.
  return spawnSync(file, args, { input: payload, maxBuffer: 1 << 28 }).stdout ?? undefined
}
