import type { CommandSpec } from '@virtio-ts/command-line'

const locatorNote = [
  'Device locators:',
  '  model:block[,key=value...]           software disk in this process:',
  '       ,size=64M  ,blk-size=512  ,read-only=on  ,queues=N  ,serial=TEXT  ,discard=off  ,write-zeroes=off',
  '  qemu:virtio-blk-pci[,prop=value...];drive=IMAGE[,key=value...]',
  '       device of a QEMU bench; properties as QEMU spells them. The image is raw unless ,format=... is said',
  '  vhost-user:/path/to/socket[,server]  vhost-user back-end (qemu-storage-daemon, SPDK); with server blkd listens there',
].join('\n')

const locator = { name: 'LOCATOR', required: true } as const

/** Every command of this version. */
export const commands: readonly CommandSpec[] = [
  {
    name: 'serve',
    summary: 'serve a device as an NBD export on a Unix socket',
    positionals: [locator],
    options: [
      { name: 'nbd', value: 'unix:PATH', description: 'where clients connect (required)' },
      { name: 'read-only', description: 'refuse everything that changes the disk' },
      { name: 'name', value: 'EXPORT', description: 'name of the export (default: the empty one, which always works)' },
    ],
    examples: [
      ['blkd serve model:block,size=1G --nbd unix:/tmp/disk.sock', 'a disk in memory'],
      ['blkd serve "qemu:virtio-blk-pci;drive=disk.img" --nbd unix:/tmp/disk.sock --read-only', 'an image, read-only'],
      ["nbdinfo 'nbd+unix:///?socket=/tmp/disk.sock'", 'what a client sees of it'],
      ["qemu-img convert -O qcow2 'nbd+unix:///?socket=/tmp/disk.sock' disk.qcow2", 'all of it, as an image'],
    ],
    notes: [
      locatorNote,
      'SIGINT and SIGTERM stop in order: requests under way are answered (10 s at most), the device flushed and reset; exit code 0.',
      'A vhost-user back-end that ends is waited for: until it is back requests fail with EIO. Nothing is repeated.',
    ],
    execute: async (parsed, io) => {
      const { serveArguments } = await import('./serve-arguments.ts')
      const args = serveArguments(parsed)
      return (await import('../commands/serve.ts')).serve(args, io)
    },
  },
  {
    name: 'copy',
    summary: 'copy a device into a file, a file onto a device, or a device onto another',
    positionals: [
      { name: 'FROM', required: true },
      { name: 'TO', required: true },
    ],
    options: [],
    examples: [
      ['blkd copy vhost-user:/run/disk.sock disk.img', 'a device into a sparse file'],
      ['blkd copy disk.img "qemu:virtio-blk-pci;drive=copy.img"', 'a file onto a device: what it held is gone'],
      ['blkd copy vhost-user:/run/a.sock vhost-user:/run/b.sock', 'a device onto another'],
    ],
    notes: [
      'What begins with the scheme of a locator is a device, anything else a file; a file named model:x is ./model:x.',
      locatorNote,
      [
        'Zeroes are not stored: a file has holes there, a device is asked to unmap. A file is written beside its place and put there when it is',
        'complete; interrupted, nothing of it stays. A device that was interrupted halfway holds half: blkd says so.',
      ].join('\n'),
    ],
    execute: async (parsed, io) => {
      const { copyArguments } = await import('./copy-arguments.ts')
      const args = copyArguments(parsed)
      return (await import('../commands/copy.ts')).copy(args, io)
    },
  },
  {
    name: 'info',
    summary: 'what a device is: size, blocks, limits, features, queues, serial; writes nothing',
    positionals: [locator],
    options: [],
    examples: [
      ['blkd info vhost-user:/run/disk.sock', 'for people'],
      ['blkd info model:block --json', 'for scripts: one object'],
    ],
    notes: [locatorNote],
    execute: async ({ flags, positionals }, io) => {
      const { parseBlockLocator } = await import('./option-values.ts')
      const args = { locator: parseBlockLocator(positionals[0] ?? ''), json: flags.has('json') }
      return (await import('../commands/info.ts')).info(args, io)
    },
  },
  {
    name: 'bench',
    summary: 'requests a second and how long they take; reads, unless told to write',
    positionals: [locator],
    options: [
      { name: 'read', description: 'read (the default): changes nothing' },
      { name: 'write-destroys-data', description: 'write noise instead: what the device holds is gone' },
      { name: 'sequential', description: 'one place after the other (default: anywhere)' },
      { name: 'depth', value: 'N', description: 'requests under way at a time, 1 to 1024 (default: 32)' },
      { name: 'length', value: 'BYTES', description: 'of a request, a multiple of the block size (default: 4096)' },
      { name: 'seconds', value: 'N', description: 'how long (default: 5)' },
      { name: 'warm-up', value: 'N', description: 'seconds of the same before, not counted (default: 0)' },
      { name: 'queues', value: 'N', description: 'queues at most (default: 4)' },
    ],
    examples: [
      ['blkd bench model:block', 'random reads of 4 KiB, 32 at a time'],
      ['blkd bench vhost-user:/run/disk.sock --depth 1 --seconds 10', 'how long a single one takes'],
      ['blkd bench "qemu:virtio-blk-pci;drive=scratch.img" --write-destroys-data --length 64K', 'writes'],
    ],
    notes: [locatorNote],
    execute: async (parsed, io) => {
      const { benchArguments } = await import('./bench-arguments.ts')
      const args = benchArguments(parsed)
      return (await import('../commands/bench.ts')).bench(args, io)
    },
  },
]
