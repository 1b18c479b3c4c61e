/** What testpmd does with the packets of its ports. */
export type ForwardMode = 'io' | 'mac' | 'macswap' | 'rxonly' | 'txonly' | 'flowgen' | 'icmpecho'

export interface TestpmdOptions {
  /** Its ports, as EAL's `--vdev` takes them: see `vhostDevice()` and `virtioUserDevice()`. */
  readonly devices: readonly string[]
  /** The core both of its threads are bound to; the one that forwards never sleeps. @defaultValue 0 */
  readonly cpu?: number
  /** Take its memory from huge pages, which must be there. @defaultValue false */
  readonly hugepages?: boolean
  /** Mebibytes. @defaultValue 256 */
  readonly memory?: number
  /** @defaultValue 'io' */
  readonly forward?: ForwardMode
  /** Receive and transmit queues of each port, all served by one core. @defaultValue 1 */
  readonly queues?: number
  /** Descriptors of each queue, where the device's other side does not say. @defaultValue 1024 */
  readonly ringSize?: number
  /** Packets handled at a time. @defaultValue 32 */
  readonly burst?: number
  /** Packet buffers in all. @defaultValue 16384 */
  readonly buffers?: number
  /** Further arguments of EAL, and of testpmd itself. */
  readonly ealArguments?: readonly string[]
  readonly arguments?: readonly string[]
  /** Milliseconds until its first prompt. @defaultValue 20000 */
  readonly startTimeout?: number
  /** Milliseconds until a command's answer. @defaultValue 10000 */
  readonly commandTimeout?: number
  /** The program. @defaultValue VIRTIO_TS_TESTPMD, or `dpdk-testpmd` of PATH */
  readonly binary?: string
}

export interface VhostDeviceOptions {
  /** Of the Unix socket: made by testpmd, or connected to, again and again, with `client`. */
  readonly path: string
  /** Queue pairs. @defaultValue 1 */
  readonly queues?: number
  readonly client?: boolean
  /** Number of the port's driver instance. @defaultValue 0 */
  readonly index?: number
}

export interface VirtioUserDeviceOptions extends Omit<VhostDeviceOptions, 'client'> {
  /** Descriptors. @defaultValue 256 */
  readonly queueSize?: number
  readonly packed?: boolean
  /** The vector paths; on a packed ring they need EAL's `--force-max-simd-bitwidth=512` too, and AVX-512. */
  readonly vectorized?: boolean
  /** @defaultValue true */
  readonly inOrder?: boolean
  /** MRG_RXBUF. @defaultValue false */
  readonly mergeable?: boolean
  /** Listen, and let the back-end connect. */
  readonly server?: boolean
}

/** DPDK's vhost-user back-end as a port. */
export function vhostDevice({ path, queues = 1, client = false, index = 0 }: VhostDeviceOptions): string {
  return `net_vhost${index},iface=${path},queues=${queues}${client ? ',client=1' : ''}`
}

/** DPDK's own driver, on a vhost-user front-end, as a port. */
export function virtioUserDevice(options: VirtioUserDeviceOptions): string {
  const { path, queues = 1, queueSize = 256, index = 0 } = options
  const { packed = false, vectorized = false, inOrder = true, mergeable = false, server = false } = options
  const numbers = { queues, queue_size: queueSize, packed_vq: +packed, vectorized: +vectorized, in_order: +inOrder }
  const rest = { mrg_rxbuf: +mergeable, server: +server }
  return [`net_virtio_user${index}`, `path=${path}`, ...pairs(numbers), ...pairs(rest)].join(',')
}

/** @param prefix keeps this testpmd's files apart from others' */
export function testpmdArguments(options: TestpmdOptions, prefix: string): string[] {
  const { devices, cpu = 0, hugepages = false, memory = 256, forward = 'io', queues = 1 } = options
  const { ringSize = 1024, burst = 32, buffers = 16384, ealArguments = [], arguments: own = [] } = options
  return [
    `--lcores=0@${cpu},1@${cpu}`,
    '--no-pci',
    '--no-telemetry',
    `--file-prefix=${prefix}`,
    // EAL has no files without huge pages anyway, and takes the two options together for a contradiction. With them, and without the second
    // option, each is a file, and more of them than a memory table has entries.
    ...(hugepages ? ['--in-memory', '--single-file-segments'] : ['--no-huge']),
    '-m',
    `${memory}`,
    ...devices.map((device) => `--vdev=${device}`),
    ...ealArguments,
    '--',
    '--interactive',
    '--nb-cores=1',
    `--forward-mode=${forward}`,
    `--rxq=${queues}`,
    `--txq=${queues}`,
    `--rxd=${ringSize}`,
    `--txd=${ringSize}`,
    `--burst=${burst}`,
    `--total-num-mbufs=${buffers}`,
    '--port-topology=loop',
    ...own,
  ]
}

function pairs(values: Readonly<Record<string, number>>): string[] {
  return Object.entries(values).map(([name, value]) => `${name}=${value}`)
}
