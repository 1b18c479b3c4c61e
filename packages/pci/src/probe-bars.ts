import { PciCommand, PciConfig, type PciConfigAccess } from './pci-config.ts'
import { PciError } from './pci-function.ts'

/** A base address register as found: what it decodes, and where it is placed now. */
export interface ProbedBar {
  readonly index: number
  readonly kind: 'memory' | 'io'
  /** Bytes, a power of two. */
  readonly length: number
  /** True when it takes the next register as the upper half of its address. */
  readonly is64Bit: boolean
  readonly prefetchable: boolean
  /** Bus address; 0 usually means that nobody has placed it. */
  readonly address: number
}

const BAR_COUNT = 6
const KIND_IO = 1
const MEMORY_WIDTH = 0b110
const MEMORY_64_BIT = 0b100
const MEMORY_RESERVED = 0b110
const PREFETCHABLE = 0b1000
const HIGH_WORD = 2 ** 32

/**
 * Sizes a function's base address registers by writing all-ones and reading back which bits stick. Decoding is switched off
 * meanwhile, and everything is written back. For buses that place BARs themselves; an operating system has done it otherwise.
 * @throws PciError `pci.no-bar` when a register does not behave like one; `pci.gone` when nothing answers
 */
export function probeBars(fn: PciConfigAccess): ProbedBar[] {
  if (fn.configRead16(PciConfig.VENDOR_ID) === PciConfig.NO_VENDOR) {
    throw new PciError(
      'pci.gone',
      'no PCI function answers here (its vendor ID reads 0xffff): its BARs cannot be sized',
    )
  }
  const command = fn.configRead16(PciConfig.COMMAND)
  // With decoding on, the function would answer at whatever address the all-ones make for that moment.
  fn.configWrite16(PciConfig.COMMAND, command & ~(PciCommand.IO_SPACE | PciCommand.MEMORY_SPACE))
  try {
    const bars: ProbedBar[] = []
    for (let index = 0; index < BAR_COUNT; index++) {
      const bar = probeBar(fn, index)
      if (!bar) continue
      bars.push(bar)
      if (bar.is64Bit) index++
    }
    return bars
  } finally {
    fn.configWrite16(PciConfig.COMMAND, command)
  }
}

function probeBar(fn: PciConfigAccess, index: number): ProbedBar | undefined {
  const low = sizeRegister(fn, index)
  if (low.writable === 0) return undefined
  const io = (low.writable & KIND_IO) !== 0
  const width = low.writable & MEMORY_WIDTH
  if (!io && width === MEMORY_RESERVED) throw broken(index, 'its type bits are a reserved value')
  const is64Bit = !io && width === MEMORY_64_BIT
  if (is64Bit && index + 1 === BAR_COUNT)
    throw broken(index, 'it is 64 bits wide, and there is no register for the upper half')
  // 16-bit I/O decoders leave the upper half at zero.
  const sticky = io
    ? ((low.writable & ~0b11) | (low.writable >>> 16 === 0 ? 0xffff0000 : 0)) >>> 0
    : (low.writable & ~0b1111) >>> 0
  if (!is64Bit && sticky === 0) throw broken(index, 'none of its address bits can be written')
  const high = is64Bit ? sizeRegister(fn, index + 1) : { writable: 0xffffffff, value: 0 }
  return {
    index,
    kind: io ? 'io' : 'memory',
    length: lengthOf(index, sticky, high.writable),
    is64Bit,
    prefetchable: !io && (low.writable & PREFETCHABLE) !== 0,
    address: ((low.value & (io ? ~0b11 : ~0b1111)) >>> 0) + high.value * HIGH_WORD,
  }
}

function sizeRegister(fn: PciConfigAccess, index: number): { readonly writable: number; readonly value: number } {
  const at = PciConfig.BAR0 + 4 * index
  const value = fn.configRead32(at)
  fn.configWrite32(at, 0xffffffff)
  const writable = fn.configRead32(at)
  fn.configWrite32(at, value)
  return { writable, value }
}

/** Address bits stick from the size's bit upwards: the size is the lowest of them, and none above may be missing. */
function lengthOf(index: number, low: number, high: number): number {
  const mask = (BigInt(high) << 32n) | BigInt(low)
  const length = (1n << 64n) - mask
  const powerOfTwo = mask !== 0n && (length & (length - 1n)) === 0n
  if (powerOfTwo && length <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(length)
  throw broken(index, `its address mask 0x${mask.toString(16)} gives no usable size`)
}

function broken(index: number, why: string): PciError {
  return new PciError('pci.no-bar', `BAR ${index} cannot be sized: ${why}; the device is broken`)
}
