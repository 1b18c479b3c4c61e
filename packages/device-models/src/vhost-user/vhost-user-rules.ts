/** Parts of QEMU's docs/interop/vhost-user.rst whose rules a back-end watches over, by their headings. */
export const VhostUserRules = {
  HEADER: { section: 'vhost-user', title: 'Header' },
  PAYLOAD: { section: 'vhost-user', title: 'Payload' },
  COMMUNICATION: { section: 'vhost-user', title: 'Communication' },
  RING_STATES: { section: 'vhost-user', title: 'Ring states' },
  MULTIPLE_QUEUES: { section: 'vhost-user', title: 'Multiple queue support' },
  MEMORY: { section: 'vhost-user', title: 'Memory access' },
  BACK_END: { section: 'vhost-user', title: 'Back-end communication' },
  IN_FLIGHT: { section: 'vhost-user', title: 'Inflight I/O tracking' },
  IN_BAND: { section: 'vhost-user', title: 'In-band notifications' },
  PROTOCOL_FEATURES: { section: 'vhost-user', title: 'Protocol features' },
  MESSAGES: { section: 'vhost-user', title: 'Front-end message types' },
  REPLY_ACK: { section: 'vhost-user', title: 'VHOST_USER_PROTOCOL_F_REPLY_ACK' },
} as const
