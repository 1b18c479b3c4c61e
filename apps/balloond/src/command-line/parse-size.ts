const units: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 }

/** `64M`, `1.5G`, `4096`: bytes. @returns undefined for what is no size, or one beyond 2^44 bytes, which no balloon has */
export function parseSize(text: string): number | undefined {
  const [, number, unit = ''] = /^([0-9]{1,14}(?:\.[0-9]{1,3})?)([KMGT]?)(?:i?B)?$/i.exec(text) ?? []
  const bytes = Math.floor(Number(number) * (units[unit.toUpperCase()] ?? Number.NaN))
  return bytes <= 2 ** 44 ? bytes : undefined
}

/** `1.5G`: the shortest text that is no further off than a tenth. */
export function formatSize(bytes: number): string {
  for (const [unit, size] of Object.entries(units).reverse())
    if (bytes >= size && size > 1) return `${Math.round((bytes / size) * 10) / 10}${unit}`
  return String(bytes)
}
