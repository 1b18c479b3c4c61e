/** Smallest MTU a device may give. @see VIRTIO 1.3 § 5.1.4.1 "Device Requirements: Device configuration layout" */
export const MIN_MTU = 68
export const MAX_MTU = 65535
/** What is assumed where the device says nothing: Ethernet's own. */
export const DEFAULT_MTU = 1500

/** Destination, source and type: the shortest frame there is. */
export const ETHERNET_HEADER = 14
export const VLAN_TAG = 4
/** Room for the tags of a provider bridge: two. */
export const MAX_VLAN_TAGS = 2

/** Ethernet header, tags, IPv6 header and the longest IPv6 payload: the longest packet anyone may pass as one. */
export const MAX_GSO_FRAME: number = ETHERNET_HEADER + MAX_VLAN_TAGS * VLAN_TAG + 40 + 65535

/** Bytes of a segmented packet that are copied before they are looked at: more than all its headers may take. */
export const HEAD_LENGTH = 192
