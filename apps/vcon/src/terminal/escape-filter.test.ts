import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { EscapeFilter } from './escape-filter.ts'

/** Puts chunks through, and says what came out and whether the escape was seen. */
async function run(
  byte: number | undefined,
  chunks: readonly Uint8Array[],
): Promise<{ out: Buffer; escaped: boolean }> {
  const filter = new EscapeFilter(byte)
  let escaped = false
  void filter.escaped.then(() => (escaped = true))
  const out: Buffer[] = []
  filter.on('data', (chunk: Buffer) => out.push(chunk))
  for (const chunk of chunks) filter.write(chunk)
  await new Promise<void>((resolve) => filter.end(resolve).on('end', resolve))
  return { out: Buffer.concat(out), escaped }
}

describe('EscapeFilter', () => {
  it('lets through what is before the escape, wherever the chunks end, and nothing behind it', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ maxLength: 20 })),
        fc.integer({ min: 0, max: 255 }),
        async (chunks, byte) => {
          const all = Buffer.concat(chunks)
          const at = all.indexOf(byte)
          expect(await run(byte, chunks)).toEqual({ out: at < 0 ? all : all.subarray(0, at), escaped: at >= 0 })
        },
      ),
    ))

  it('lets everything through without an escape', async () => {
    const all = Uint8Array.from({ length: 256 }, (_, byte) => byte)
    expect(await run(undefined, [all])).toEqual({ out: Buffer.from(all), escaped: false })
  })
})
