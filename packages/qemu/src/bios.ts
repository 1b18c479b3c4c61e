const LENGTH = 64 * 1024
/** Where a processor starts: 16 bytes below the end of the first 64 KiB seen from 4 GiB downwards. */
const RESET_VECTOR = 0xfff0
const HLT = 0xf4

/**
 * A firmware image that parks the processor for ever: `cli; hlt; jmp` back to the hlt. The machine then runs, with clocks and
 * timers in real time and next to no load, and everything a processor would do is done over qtest.
 */
export function parkingBios(): Uint8Array {
  const image = new Uint8Array(LENGTH).fill(HLT)
  image.set([0xfa, HLT, 0xeb, 0xfd], RESET_VECTOR)
  return image
}
