import type { CommandSpec } from '@virtio-ts/command-line'

export const command: CommandSpec = {
  name: '',
  summary: 'gives a virtio memory balloon what it asks for, as far as this machine can do without',
  positionals: [{ name: 'LOCATOR', required: true }],
  options: [
    { name: 'dry-run', description: 'say what would be done, and give no memory' },
    { name: 'interval', value: 'S', description: 'seconds between two decisions (default: 1)' },
    { name: 'min', value: 'SIZE', description: 'stays in the balloon under pressure too (default: 0)' },
    { name: 'max', value: 'SIZE', description: 'in the balloon at most (default: what the device asks for)' },
    { name: 'step', value: 'SIZE', description: 'more or less in one interval at most (default: 256M)' },
    { name: 'reserve', value: 'SIZE', description: 'is to remain available here (default: 64M)' },
    { name: 'high', value: 'PERCENT', description: 'of time waited for memory is pressure (default: 10)' },
    { name: 'low', value: 'PERCENT', description: 'of time waited for memory is its end (default: 1)' },
    { name: 'cgroup', value: 'DIR', description: 'follow the pressure and the limit of this cgroup' },
    { name: 'pressure', value: 'FILE', description: 'follow this file, in the format of /proc/pressure/memory' },
    { name: 'free', value: 'SIZE', description: 'memory kept free, and reported to the device (default: 0)' },
  ],
  examples: [
    ['balloond model:balloon --dry-run', 'what would be done for a software device'],
    ['balloond "qemu:virtio-balloon-pci,deflate-on-oom=on;chardev=/tmp/qmp.sock,server=on,wait=off"', 'one of a bench'],
    ['balloond LOCATOR --max 2G --reserve 512M', 'at most 2 GiB, and never the last 512 MiB'],
    ['balloond LOCATOR --cgroup /sys/fs/cgroup/web.slice', 'by the pressure of a cgroup'],
  ],
  notes: [
    [
      'Device locators:',
      '  model:balloon[,target=SIZE]          software device in this process, which asks for that much (default: 8M)',
      '       ,deflate-on-oom=on|off  ,profile=honest|sloppy|strict  ,interface=modern|legacy|transitional  ,packed=on|off',
      '  qemu:virtio-balloon-pci[,prop=value...][;chardev=PATH,server=on,wait=off][;machine=q35|pc]',
      '                                       device of a QEMU bench; the socket, if given, speaks QMP: {"execute":"balloon",...}',
      '  vhost-user:/path/to/socket[,server]  a vhost-user back-end that is a balloon',
    ].join('\n'),
    [
      'The balloon grows towards what the device asks for, a step in each interval, while there is no pressure and more than the reserve',
      'is available. Under pressure it shrinks, if the device allows that (DEFLATE_ON_OOM), and grows again after five calm intervals.',
    ].join('\n'),
    'SIGINT, SIGTERM and SIGHUP stop in order: all memory comes back (2 s at most), the device is reset; exit code 0.',
    'SIZE is a number of bytes, or of K, M, G, T (1024 each).',
  ],
  execute: async (parsed, io) => {
    const { balloondArguments } = await import('./balloond-arguments.ts')
    const args = balloondArguments(parsed)
    return (await import('../commands/run.ts')).run(args, io)
  },
}
