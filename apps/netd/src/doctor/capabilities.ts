import type { Machine } from './machine.ts'

/** Bits of capability sets, from linux/capability.h. */
export const Capability = { NET_ADMIN: 12, IPC_LOCK: 14, SYS_PTRACE: 19, SYS_ADMIN: 21 } as const

/** Whether this process has a capability in effect. */
export function hasCapability(machine: Machine, bit: number): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)/m.exec(machine.readText('/proc/self/status') ?? '')?.[1]
  return effective !== undefined && ((BigInt(`0x${effective}`) >> BigInt(bit)) & 1n) === 1n
}
