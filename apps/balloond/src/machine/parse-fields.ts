/**
 * Reads what `/proc/meminfo`, `/proc/vmstat` and `memory.stat` have in common: a line for each name, with a whole number behind. `kB` is
 * taken for what the kernel means by it, 1024 bytes. Lines that are none are left out.
 */
export function parseFields(text: string): ReadonlyMap<string, number> {
  const fields = new Map<string, number>()
  for (const line of text.split('\n')) {
    const [, name, digits, unit] = /^([A-Za-z_][\w().-]*):?\s+([0-9]{1,20})( kB)?\s*$/.exec(line) ?? []
    if (name !== undefined) fields.set(name, Number(digits) * (unit === undefined ? 1 : 1024))
  }
  return fields
}
