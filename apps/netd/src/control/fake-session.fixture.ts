import { captureTime } from '../capture/capture-time.ts'
import type { CaptureSink } from '../capture/packet-tap.ts'
import type { Observable, PortDescription, SessionDescription } from './observable.ts'

const exampleFunction: NonNullable<PortDescription['function']> = {
  bus: 'qemu',
  address: '0000:00:01.0',
  vendor: 0x1af4,
  device: 0x1041,
}

export const exampleDescription: SessionDescription & { readonly function: typeof exampleFunction } = {
  locator: 'qemu:virtio-net-pci',
  state: 'running',
  function: exampleFunction,
  device: {
    transport: 'pci-modern',
    location: '0000:00:01.0',
    deviceType: 1,
    legacy: false,
    interrupts: 'msix',
    vectors: 3,
    generation: 1,
    features: ['CSUM', 'MAC', 'VERSION_1'],
    queues: [
      { name: 'receiveq1', index: 0, size: 256 },
      { name: 'transmitq1', index: 1, size: 256 },
      { name: 'controlq', index: 2, size: 64 },
    ],
  },
  net: { mac: '52:54:00:12:34:56', linkUp: true, mtu: 1500 },
  tap: { name: 't0', up: true, offloads: ['checksum', 'tso4', 'tso6'] },
}

/** A session without a device: counts, and hands the packets a test makes to those who capture. */
export class FakeSession implements Observable {
  readonly taps = new Set<CaptureSink>()
  counters: Record<string, number> = { rx_packets: 0, tx_packets: 7 }
  description: SessionDescription = exampleDescription

  describe(): SessionDescription {
    return this.description
  }

  stats(): Record<string, number> {
    this.counters['rx_packets'] = (this.counters['rx_packets'] ?? 0) + 10
    return { ...this.counters }
  }

  attachCapture(sink: CaptureSink): () => void {
    this.taps.add(sink)
    return () => this.taps.delete(sink)
  }

  packet(direction: 'rx' | 'tx', ...segments: Uint8Array[]): void {
    for (const tap of this.taps) tap.captureAt(captureTime(), direction, 0, new Uint8Array(12), ...segments)
  }
}

/** An Ethernet frame with an ARP request, which every decoder knows. */
export const arpFrame: Uint8Array = Uint8Array.from(
  Buffer.from(
    'ffffffffffff5254001234560806000108000604000152540012345 60a000001000000000000 0a000002'.replaceAll(' ', ''),
    'hex',
  ),
)
