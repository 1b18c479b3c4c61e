const units: readonly string[] = ['', 'K', 'M', 'G', 'T', 'P']

/** `64M`, `4096`: bytes, with K, M, G, T for powers of 1024. @returns undefined for anything else */
export function parseSize(text: string): number | undefined {
  const match = /^([0-9]{1,15})([KMGT]?)$/i.exec(text)
  if (!match) return undefined
  const size = Number(match[1]) * 1024 ** units.indexOf((match[2] ?? '').toUpperCase())
  return Number.isSafeInteger(size) ? size : undefined
}

/** `64 MiB`, `1.5 GiB`, `512 bytes`: rounded to one digit. */
export function formatSize(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  if (unit === 0) return `${bytes} bytes`
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${units[unit]}iB`
}
