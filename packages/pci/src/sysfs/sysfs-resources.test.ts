import { expect, it } from 'vitest'
import { parseResources } from './sysfs-resources.ts'

it('reads what sysfs says of base address registers', () => {
  // Of a transitional virtio-net of QEMU's, as a 6.1 kernel shows it.
  const text = `0x000000000000c0a0 0x000000000000c0bf 0x0000000000040101
0x00000000febd4000 0x00000000febd4fff 0x0000000000040200
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x00000000fe004000 0x00000000fe007fff 0x000000000014220c
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x00000000feb40000 0x00000000feb7ffff 0x0000000000046200
`
  expect(parseResources(text)).toEqual([
    { index: 0, kind: 'io', length: 32, start: 0xc0a0 },
    { index: 1, kind: 'memory', length: 4096, start: 0xfebd4000 },
    { index: 4, kind: 'memory', length: 16384, start: 0xfe004000 },
  ])
  expect(parseResources('')).toEqual([])
})
