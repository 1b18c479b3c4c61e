/** Of one port, since testpmd was launched or its statistics were cleared. */
export interface PortStats {
  readonly rxPackets: number
  readonly rxMissed: number
  readonly rxBytes: number
  readonly rxErrors: number
  /** Packets that found no buffer. */
  readonly rxNoBuffer: number
  readonly txPackets: number
  readonly txErrors: number
  readonly txBytes: number
}

const names: Readonly<Record<keyof PortStats, string>> = {
  rxPackets: 'RX-packets',
  rxMissed: 'RX-missed',
  rxBytes: 'RX-bytes',
  rxErrors: 'RX-errors',
  rxNoBuffer: 'RX-nombuf',
  txPackets: 'TX-packets',
  txErrors: 'TX-errors',
  txBytes: 'TX-bytes',
}

/** Reads the answer to `show port stats N`; undefined when it is none. */
export function parsePortStats(text: string): PortStats | undefined {
  const values = Object.entries(names).map(([key, name]) => [key, new RegExp(`${name}:\\s*(\\d+)`).exec(text)?.[1]])
  if (values.some(([, digits]) => digits === undefined)) return undefined
  return Object.fromEntries(values.map(([key, digits]) => [key, Number(digits)])) as unknown as PortStats
}
