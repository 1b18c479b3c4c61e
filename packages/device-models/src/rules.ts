/** A place in the specification: number and title of a section, as VIRTIO 1.3 has them. */
export interface SpecClause {
  readonly section: string
  readonly title: string
}

/** Something the driver did that the specification forbids, and where it says so. */
export interface Violation extends SpecClause {
  readonly text: string
}

/** The sections whose rules the device models watch over. The test beside checks numbers and titles. */
export const Rules = {
  STATUS: { section: '2.1.1', title: 'Driver Requirements: Device Status Field' },
  FEATURES: { section: '2.2.1', title: 'Driver Requirements: Feature Bits' },
  CONFIG_SPACE: { section: '2.5.1', title: 'Driver Requirements: Device Configuration Space' },
  RING_ALIGNMENT: { section: '2.7.1', title: 'Driver Requirements: Virtqueues' },
  RING_LAYOUT: { section: '2.7', title: 'Split Virtqueues' },
  FRAMING: { section: '2.7.4.2', title: 'Driver Requirements: Message Framing' },
  DESCRIPTOR_TABLE: { section: '2.7.5.2', title: 'Driver Requirements: The Virtqueue Descriptor Table' },
  INDIRECT: { section: '2.7.5.3.1', title: 'Driver Requirements: Indirect Descriptors' },
  AVAILABLE_RING: { section: '2.7.6.1', title: 'Driver Requirements: The Virtqueue Available Ring' },
  USED_SUPPRESSION: { section: '2.7.7.1', title: 'Driver Requirements: Used Buffer Notification Suppression' },
  AVAILABLE_SUPPRESSION: {
    section: '2.7.10.1',
    title: 'Driver Requirements: Available Buffer Notification Suppression',
  },
  PLACING_BUFFERS: { section: '2.7.13.1', title: 'Placing Buffers Into The Descriptor Table' },
  NOTIFICATION_DATA: { section: '2.9', title: 'Driver Notifications' },
  PACKED_EVENTS: { section: '2.8.14', title: 'Event Suppression Structure Format' },
  PACKED_LAYOUT: { section: '2.8.10.1', title: 'Structure Size and Alignment' },
  PACKED_ALIGNMENT: { section: '2.8.11', title: 'Driver Requirements: Virtqueues' },
  PACKED_DESCRIPTOR_FORMAT: { section: '2.8.13', title: 'The Virtqueue Descriptor Format' },
  PACKED_DESCRIPTOR_TABLE: { section: '2.8.16', title: 'Driver Requirements: The Virtqueue Descriptor Table' },
  PACKED_LISTS: { section: '2.8.17', title: 'Driver Requirements: Scatter-Gather Support' },
  PACKED_INDIRECT: { section: '2.8.19', title: 'Driver Requirements: Indirect Descriptors' },
  PACKED_PLACING: { section: '2.8.21.1', title: 'Placing Available Buffers Into The Descriptor Ring' },
  INITIALIZATION: { section: '3.1.1', title: 'Driver Requirements: Device Initialization' },
  CLEANUP: { section: '3.3.1', title: 'Driver Requirements: Device Cleanup' },
  PCI: { section: '4.1', title: 'Virtio Over PCI Bus' },
  PCI_LAYOUT: { section: '4.1.3.1', title: 'Driver Requirements: PCI Device Layout' },
  PCI_CAPABILITIES: { section: '4.1.4.1', title: 'Driver Requirements: Virtio Structure PCI Capabilities' },
  COMMON_CONFIG: { section: '4.1.4.3.2', title: 'Driver Requirements: Common configuration structure layout' },
  PCI_CONFIG_ACCESS: { section: '4.1.4.9.2', title: 'Driver Requirements: PCI configuration access capability' },
  LEGACY_LAYOUT: { section: '4.1.4.10', title: 'Legacy Interfaces: A Note on PCI Device Layout' },
  MSIX: { section: '4.1.5.1.2.2', title: 'Driver Requirements: MSI-X Vector Configuration' },
  QUEUE_CONFIGURATION: { section: '4.1.5.1.3', title: 'Virtqueue Configuration' },
  NOTIFICATIONS: { section: '4.1.5.2.1', title: 'Driver Requirements: Available Buffer Notifications' },
  NET_CONFIG: { section: '5.1.4.2', title: 'Driver Requirements: Device configuration layout' },
  NET_TRANSMIT: { section: '5.1.6.2.1', title: 'Driver Requirements: Packet Transmission' },
  NET_RECEIVE_BUFFERS: { section: '5.1.6.3.1', title: 'Driver Requirements: Setting Up Receive Buffers' },
  NET_CONTROL: { section: '5.1.6.5', title: 'Control Virtqueue' },
  NET_RECEIVE_FILTER: { section: '5.1.6.5.1.2', title: 'Driver Requirements: Packet Receive Filtering' },
  NET_MAC_FILTER: { section: '5.1.6.5.2.2', title: 'Driver Requirements: Setting MAC Address Filtering' },
  NET_VLAN: { section: '5.1.6.5.3', title: 'VLAN Filtering' },
  NET_ANNOUNCE: { section: '5.1.6.5.4.1', title: 'Driver Requirements: Gratuitous Packet Sending' },
  NET_STEERING: {
    section: '5.1.6.5.6.1',
    title: 'Driver Requirements: Automatic receive steering in multiqueue mode',
  },
  NET_HASH: { section: '5.1.6.5.6.4', title: 'Hash calculation' },
  NET_RSS: { section: '5.1.6.5.7.2', title: 'Driver Requirements: Setting RSS parameters' },
  NET_COALESCING: { section: '5.1.6.5.9.5', title: 'Driver Requirements: Notifications Coalescing' },
  NET_OFFLOADS: { section: '5.1.6.5.8.2', title: 'Driver Requirements: Setting Offloads State' },
  NET_LEGACY_FRAMING: { section: '5.1.6.6', title: 'Legacy Interface: Framing Requirements' },
  BLOCK_FEATURES: { section: '5.2.3', title: 'Feature bits' },
  BLOCK_INITIALIZATION: { section: '5.2.5.1', title: 'Driver Requirements: Device Initialization' },
  BLOCK_OPERATION: { section: '5.2.6.1', title: 'Driver Requirements: Device Operation' },
  BLOCK_LEGACY_FRAMING: { section: '5.2.6.4', title: 'Legacy Interface: Framing Requirements' },
  CONSOLE_QUEUES: { section: '5.3.2', title: 'Virtqueues' },
  CONSOLE: { section: '5.3.6.1', title: 'Driver Requirements: Device Operation' },
  CONSOLE_MULTIPORT: { section: '5.3.6.2.2', title: 'Driver Requirements: Multiport Device Operation' },
  ENTROPY: { section: '5.4.6.1', title: 'Driver Requirements: Device Operation' },
  BALLOON: { section: '5.5.6.1', title: 'Driver Requirements: Device Operation' },
  BALLOON_STATISTICS: { section: '5.5.6.3.1', title: 'Driver Requirements: Memory Statistics' },
  BALLOON_HINTING: { section: '5.5.6.5.1', title: 'Driver Requirements: Free Page Hinting' },
  BALLOON_POISON: { section: '5.5.6.6.1', title: 'Driver Requirements: Page Poison' },
  BALLOON_REPORTING: { section: '5.5.6.7.1', title: 'Driver Requirements: Free Page Reporting' },
  RESERVED_FEATURES: { section: '6.1', title: 'Driver Requirements: Reserved Feature Bits' },
} as const
