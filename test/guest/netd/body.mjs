/** Bytes that no two packets have alike: xorshift32 of a seed. @param {number} bytes @param {number} seed */
export function body(bytes, seed) {
  const words = new Int32Array(Math.ceil(bytes / 4))
  let x = seed >>> 0 || 1
  for (let i = 0; i < words.length; i++) {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    words[i] = x
  }
  return Buffer.from(words.buffer, 0, bytes)
}
