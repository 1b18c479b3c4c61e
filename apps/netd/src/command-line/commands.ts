import { type CommandSpec, type OptionSpec } from '@virtio-ts/command-line'

const nameArgument = { name: 'NAME', required: false } as const

const locatorNote = [
  'Device locators:',
  '  model:net[,key=value...]             software device in this process, with a host behind it that answers ARP, ping, UDP:',
  '       ,profile=honest|sloppy|strict|vbox-4.3|vbox-7  ,interface=modern|legacy|transitional  ,mac=..  ,peer=IPV4',
  '  qemu:virtio-net-pci[,prop=value...]  device of a QEMU bench; properties as QEMU spells them, then the bench itself:',
  '       ;netdev=user|tap,ifname=..|hub|stream  ;machine=q35|pc',
  '  vhost-user:/path/to/socket[,server]  port of a vhost-user back-end (OVS-DPDK, VPP, testpmd); with server netd listens there',
  '  vfio:0000:00:04.0                    PCI function of this machine, taken from its kernel driver and given back at the end (netd',
  '                                       devices lists them); an IOMMU keeps it to the memory it is given',
  '  sysfs:0000:00:04.0                   the same on a machine without an IOMMU, with huge pages; nothing protects memory from it',
].join('\n')

const runOptions: readonly OptionSpec[] = [
  { name: 'tap', value: 'NAME', description: 'name of the TAP interface (default: the first free of vt0, vt1, ...)' },
  { name: 'mac', value: 'MAC', description: "MAC address to use instead of the device's own" },
  { name: 'mtu', value: 'N', description: 'MTU of the interface, 68 to 65535' },
  { name: 'queues', value: 'N', description: 'pairs of queues, 1 to 256 (default: 1)' },
  { name: 'no-offload', description: 'no checksum or segmentation offload' },
  { name: 'features', value: '-NAME,..', description: 'features never to accept, e.g. -CSUM,-MRG_RXBUF' },
  { name: 'capture', value: 'FILE', description: 'capture everything to a pcapng file or FIFO' },
  { name: 'metrics', value: 'ADDRESS', description: 'serve OpenMetrics on a Unix socket or HOST:PORT' },
  { name: 'poll', description: 'poll the device instead of waiting for interrupts' },
  {
    name: 'force',
    description: 'take a PCI function also when a default route goes over it, or other interfaces stand on it',
  },
  { name: 'wait', description: 'wait for a PCI function that was unplugged (without: exit code 69)' },
]

/** Every command of this version. Lists only what works: a command that is not there yet is not in the help either. */
export const commands: readonly CommandSpec[] = [
  {
    name: 'demo',
    summary: 'the whole stack in this process: device, driver, traffic, counters',
    positionals: [],
    options: [],
    examples: [['netd demo', 'no root, no QEMU; exit code 0 when everything worked']],
    execute: async ({ flags }, io) => (await import('../commands/demo.ts')).demo({ json: flags.has('json') }, io),
  },
  {
    name: 'run',
    summary: 'drive a device and give it to this machine as a TAP interface',
    positionals: [{ name: 'LOCATOR', required: true }],
    options: runOptions,
    examples: [
      ['netd run qemu:virtio-net-pci --tap vt0', 'a device of a QEMU bench with user networking'],
      ['netd run "qemu:virtio-net-pci,mac=52:54:00:00:00:07;machine=pc"', 'properties and machine'],
      ['netd run vhost-user:/run/vhost0.sock --queues 2', 'a port of a software switch, two pairs of queues'],
      ['sudo netd run vfio:0000:00:04.0', 'a virtio network device of this machine, until netd ends'],
      ['netd run model:net --tap vt0 --features -CSUM', 'a software device, without checksum offload'],
    ],
    notes: [
      locatorNote,
      'SIGINT and SIGTERM stop in order: transmit is drained (2 s at most), the device reset, the TAP released; exit code 0.',
      'A vhost-user back-end that ends is waited for, with --wait also an unplugged PCI function: no carrier until it is back.',
    ],
    execute: async (parsed, io) => {
      const { runArguments } = await import('./run-arguments.ts')
      const args = runArguments(parsed)
      return (await import('../commands/run.ts')).run(args, io)
    },
  },
  {
    name: 'bridge',
    summary: 'forward between two devices',
    positionals: [
      { name: 'LOCATOR', required: true },
      { name: 'LOCATOR', required: true },
    ],
    options: [
      {
        name: 'name',
        value: 'NAME',
        description: 'what show, stats and capture call it (default: the first free of bridge0, ...)',
      },
      ...runOptions.filter(({ name }) =>
        ['queues', 'no-offload', 'features', 'metrics', 'poll', 'force', 'wait'].includes(name),
      ),
    ],
    examples: [
      ['netd bridge vhost-user:/run/a.sock vhost-user:/run/b.sock', 'two ports of software switches'],
      ['netd bridge vhost-user:/run/a.sock "qemu:virtio-net-pci;netdev=tap,ifname=q0"', 'any two devices'],
    ],
    notes: [
      locatorNote,
      [
        'Frames pass with their headers, so that segmentation and checksums are left to whoever does them last. Where the',
        'other ring is full a frame is dropped and counted (netd stats).',
      ].join('\n'),
    ],
    execute: async (parsed, io) => {
      const { bridgeArguments } = await import('./bridge-arguments.ts')
      const args = bridgeArguments(parsed)
      return (await import('../commands/bridge.ts')).bridge(args, io)
    },
  },
  {
    name: 'devices',
    summary: 'the virtio PCI functions of this machine; looks only, touches nothing',
    positionals: [],
    options: [],
    examples: [
      ['netd devices', 'type, driver in use, IOMMU group, interfaces, what taking it over would need'],
      ['netd devices --json', 'the same for scripts'],
    ],
    execute: async ({ flags }, io) => (await import('../commands/devices.ts')).devices({ json: flags.has('json') }, io),
  },
  {
    name: 'bind',
    summary: "take a PCI function from the kernel's driver",
    positionals: [{ name: 'BDF', required: true }],
    options: [
      { name: 'driver', value: 'NAME', description: 'vfio-pci (the default), uio_pci_generic or none' },
      { name: 'force', description: 'also when a default route goes over it, or other interfaces stand on it' },
    ],
    examples: [
      ['sudo netd bind 0000:00:04.0', 'to vfio-pci; netd devices lists the addresses'],
      ['sudo netd bind 0000:00:04.0 --driver uio_pci_generic', 'on a machine without an IOMMU'],
    ],
    notes: [
      'Its interfaces go, with their addresses and routes. netd release brings all of that back, also after a crash.',
      'Exit code 78: it would cut this machine off, or delete a VLAN; --force does it all the same.',
    ],
    execute: async (parsed, io) => {
      const { bindArguments } = await import('./takeover-arguments.ts')
      const args = bindArguments(parsed)
      return (await import('../commands/bind.ts')).bind(args, io)
    },
  },
  {
    name: 'release',
    summary: 'give a PCI function back to the driver it came from, with its addresses and routes',
    positionals: [{ name: 'BDF', required: true }],
    options: [],
    examples: [
      ['sudo netd release 0000:00:04.0', 'after netd bind, or after a netd that was killed'],
      ['sudo netd release vfio:0000:00:04.0', 'a locator will do'],
    ],
    notes: ['Does nothing where there is nothing to give back. A function that a running netd has is refused.'],
    execute: async (parsed, io) => {
      const { releaseArguments } = await import('./takeover-arguments.ts')
      const args = releaseArguments(parsed)
      return (await import('../commands/release.ts')).release(args, io)
    },
  },
  {
    name: 'show',
    summary: 'running netds: device, driver, features, queues, TAP as a tree',
    positionals: [nameArgument],
    options: [],
    examples: [
      ['netd show', 'every running netd of this user'],
      ['netd show vt0', 'one; exit code 69 when there is none of that name'],
    ],
    execute: async ({ flags, positionals }, io) =>
      (await import('../commands/show.ts')).show({ name: positionals[0], json: flags.has('json') }, io),
  },
  {
    name: 'stats',
    summary: 'counters of running netds',
    positionals: [nameArgument],
    options: [{ name: 'watch', short: 'w', description: 'again every second, with rates, until interrupted' }],
    examples: [
      ['netd stats vt0', 'every counter once'],
      ['netd stats vt0 --watch', 'again every second, with rates'],
      ['netd stats --watch --json', 'one line of JSON a second for each netd'],
    ],
    execute: async ({ flags, positionals }, io) =>
      (await import('../commands/stats.ts')).stats(
        { name: positionals[0], watch: flags.has('watch'), json: flags.has('json') },
        io,
      ),
  },
  {
    name: 'capture',
    summary: 'packets of a running netd as pcapng',
    positionals: [{ name: 'NAME', required: true }],
    options: [
      { name: 'write', short: 'w', value: 'FILE', description: 'file or FIFO to write; - is stdout (required)' },
      { name: 'count', short: 'c', value: 'N', description: 'stop after N packets' },
      { name: 'snaplen', short: 's', value: 'N', description: 'bytes to keep of each packet (default: 262144)' },
    ],
    examples: [
      ['netd capture vt0 -w - | tcpdump -nr -', 'watch'],
      ['netd capture vt0 -w vt0.pcapng -c 100', 'the next 100 packets into a file'],
      ['wireshark -k -i <(netd capture vt0 -w -)', 'watch in Wireshark'],
    ],
    notes: ['Packets that the reader is too slow for are dropped and counted, never waited for.'],
    execute: async (parsed, io) => {
      const { captureArguments } = await import('./capture-arguments.ts')
      const args = captureArguments(parsed)
      return (await import('../commands/capture.ts')).capture(args, io)
    },
  },
  {
    name: 'doctor',
    summary: 'what this machine has and lacks for netd, with the command that mends it',
    positionals: [],
    options: [],
    examples: [
      ['netd doctor', 'one line a check: pass, warn or fail'],
      ['netd doctor --json', 'the same for scripts'],
    ],
    notes: ['Exit code 0 when no check fails; a warning is something that one feature or another lacks.'],
    execute: async ({ flags }, io) => (await import('../commands/doctor.ts')).doctor({ json: flags.has('json') }, io),
  },
]
