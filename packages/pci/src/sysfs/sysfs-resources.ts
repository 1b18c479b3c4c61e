/** One base address register as sysfs's `resource` file has it. */
export interface SysfsResource {
  readonly index: number
  readonly kind: 'memory' | 'io'
  /** Bytes. */
  readonly length: number
  /** Bus address. */
  readonly start: number
}

// linux/ioport.h
const IORESOURCE_IO = 0x100
const IORESOURCE_MEM = 0x200
const BAR_COUNT = 6

/** Reads the lines `start end flags` of the file `resource`, of which the first six are the base address registers. */
export function parseResources(text: string): SysfsResource[] {
  const resources: SysfsResource[] = []
  for (const [index, line] of text.split('\n').slice(0, BAR_COUNT).entries()) {
    const [start = 0, end = 0, flags = 0] = line.split(' ').map(Number)
    if ((flags & (IORESOURCE_IO | IORESOURCE_MEM)) === 0 || end <= start) continue
    resources.push({ index, kind: (flags & IORESOURCE_IO) !== 0 ? 'io' : 'memory', length: end - start + 1, start })
  }
  return resources
}
