import type { StreamPeer } from './stream-peer.ts'

export type MachineName = 'q35' | 'pc'

export interface QemuBenchOptions {
  /** `q35` (PCI Express, the default) or `pc` (conventional PCI). */
  readonly machine?: MachineName
  /** Memory that devices can reach, in bytes: a multiple of 4096 from 2 MiB to 2 GiB; 64 MiB when left out. */
  readonly memory?: number
  /**
   * Devices as QEMU spells `-device`, e.g. `virtio-net-pci,netdev=n0,disable-legacy=on`, in the order in which
   * `functions` will have them. One without an `id` gets `device0`, `device1` ... after its place in this list.
   */
  readonly devices: readonly string[]
  /** `-netdev` arguments, e.g. `user,id=n0`, and in-process peers. */
  readonly netdevs?: readonly (string | StreamPeer)[]
  /** `-drive` arguments. */
  readonly drives?: readonly string[]
  /** `-chardev` arguments. */
  readonly chardevs?: readonly string[]
  /** `-object` arguments. */
  readonly objects?: readonly string[]
  /** Anything else, one argument per element. */
  readonly args?: readonly string[]
  /** Name or path of the binary; environment variable `VIRTIO_TS_QEMU`, then `qemu-system-x86_64`, when left out. */
  readonly binary?: string
  /** Puts the memory above 4 GiB, so that device addresses need more than 32 bits. */
  readonly highMemory?: boolean
  /**
   * Runs QEMU as root of a user and network namespace of its own, so that `-netdev tap` needs no privileges. A string is a shell
   * script that sets the namespace up before QEMU starts, e.g. `ip tuntap add dev tap0 mode tap vnet_hdr && ip link set tap0 up`.
   */
  readonly userNetworkNamespace?: boolean | string
  /**
   * MSI-X vectors for all functions together, 0 to 256; 64 when left out. With 0 there is no MSI-X, and drivers have to do
   * with INTx.
   */
  readonly ivshmemVectors?: number
  /** Seccomp filter against obsolete calls, new processes and more privileges; true when left out. */
  readonly sandbox?: boolean
  /** How long QEMU may take to start, in milliseconds; 30 000 when left out. */
  readonly startTimeout?: number
  /** How long a register access may take before QEMU counts as hung and is killed, in milliseconds; 20 000 when left out. */
  readonly replyTimeout?: number
  /** Gets every qtest command, in order: see `QtestRecorder`. */
  readonly record?: (command: string) => void
  /** Gives up starting. */
  readonly signal?: AbortSignal
}
