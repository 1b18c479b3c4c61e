/** Requests of the TUN/TAP device (linux/if_tun.h). */
export const TunRequest = {
  SETIFF: 0x4004_54ca,
  SETPERSIST: 0x4004_54cb,
  SETOFFLOAD: 0x4004_54d0,
  GETIFF: 0x8004_54d2,
  GETVNETHDRSZ: 0x8004_54d7,
  SETVNETHDRSZ: 0x4004_54d8,
  SETQUEUE: 0x4004_54d9,
  SETVNETLE: 0x4004_54dc,
  GETVNETLE: 0x8004_54dd,
  SETCARRIER: 0x4004_54e2,
} as const

/** Flags of TUNSETIFF and TUNSETQUEUE (linux/if_tun.h). */
export const TunFlag = {
  TAP: 0x0002,
  MULTI_QUEUE: 0x0100,
  ATTACH_QUEUE: 0x0200,
  DETACH_QUEUE: 0x0400,
  NO_PI: 0x1000,
  VNET_HDR: 0x4000,
} as const

/** Bits of TUNSETOFFLOAD (linux/if_tun.h): what the reader of the device takes. */
export const TunOffload = {
  CSUM: 0x01,
  TSO4: 0x02,
  TSO6: 0x04,
  TSO_ECN: 0x08,
  UFO: 0x10,
  USO4: 0x20,
  USO6: 0x40,
} as const
