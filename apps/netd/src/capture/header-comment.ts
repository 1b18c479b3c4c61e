import { NetHeader } from '@virtio-ts/spec'

const flagNames: readonly (readonly [number, string])[] = [
  [NetHeader.F_NEEDS_CSUM, 'NEEDS_CSUM'],
  [NetHeader.F_DATA_VALID, 'DATA_VALID'],
  [NetHeader.F_RSC_INFO, 'RSC_INFO'],
]

const gsoNames: Readonly<Record<number, string>> = {
  [NetHeader.GSO_NONE]: 'NONE',
  [NetHeader.GSO_TCPV4]: 'TCPV4',
  [NetHeader.GSO_UDP]: 'UDP',
  [NetHeader.GSO_TCPV6]: 'TCPV6',
  [NetHeader.GSO_UDP_L4]: 'UDP_L4',
}

function hex(value: number): string {
  return `0x${value.toString(16)}`
}

function namesOfFlags(flags: number): string {
  let rest = flags
  const names: string[] = []
  for (const [bit, name] of flagNames) {
    if ((rest & bit) === 0) continue
    names.push(name)
    rest &= ~bit
  }
  if (rest !== 0) names.push(hex(rest))
  return names.length === 0 ? '0' : names.join('|')
}

function nameOfGso(type: number): string {
  const base = type & ~NetHeader.GSO_ECN
  return `${gsoNames[base] ?? hex(base)}${(type & NetHeader.GSO_ECN) === 0 ? '' : '|ECN'}`
}

/**
 * A virtio net header in words, as the comment of its packet: pcapng has a place for everything else. Fields are there as
 * far as the header is long.
 * @see VIRTIO 1.3 § 5.1.6 "Device Operation"
 */
export function headerComment(header: Uint8Array): string {
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength)
  if (header.length < NetHeader.LENGTH_LEGACY) return `virtio_net_hdr cut off at ${header.length} bytes`
  const fields = [
    `flags=${namesOfFlags(view.getUint8(NetHeader.FLAGS))}`,
    `gso_type=${nameOfGso(view.getUint8(NetHeader.GSO_TYPE))}`,
    `hdr_len=${view.getUint16(NetHeader.HDR_LEN, true)}`,
    `gso_size=${view.getUint16(NetHeader.GSO_SIZE, true)}`,
    `csum_start=${view.getUint16(NetHeader.CSUM_START, true)}`,
    `csum_offset=${view.getUint16(NetHeader.CSUM_OFFSET, true)}`,
  ]
  if (header.length >= NetHeader.LENGTH) fields.push(`num_buffers=${view.getUint16(NetHeader.NUM_BUFFERS, true)}`)
  return `virtio_net_hdr ${fields.join(' ')}`
}
