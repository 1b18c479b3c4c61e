import {
  type ConfigAccess,
  EcamConfigAccess,
  type FunctionNumber,
  functionNumber,
  PortConfigAccess,
} from './config-access.ts'
import type { MachineName } from './qemu-bench-options.ts'
import type { Qtest } from './qtest.ts'

/** What firmware would know of a machine, and do to it. */
export interface Platform {
  readonly machine: MachineName
  readonly config: ConfigAccess
  /** Whether a function belongs to the machine itself. */
  isBuiltIn(number: FunctionNumber): boolean
  /** Puts the chipset in order; after a start and after every system reset. */
  initialize(): void
  /**
   * IOAPIC pin of an interrupt of bus 0, or undefined where the chipset has another way.
   * @param pin 0 for INTA to 3 for INTD
   */
  interruptPin(device: number, pin: number): number | undefined
}

export function platformOf(machine: MachineName, qtest: Qtest): Platform {
  return machine === 'q35' ? new Q35Platform(qtest) : new PcPlatform(qtest)
}

const PCIEXBAR = 0x60
const PCIEXBAR_ENABLE = 1
const ECAM_BASE = 0xb000_0000

class Q35Platform implements Platform {
  readonly machine = 'q35'
  readonly config: ConfigAccess
  readonly #ports: ConfigAccess

  constructor(qtest: Qtest) {
    this.#ports = new PortConfigAccess(qtest)
    this.config = new EcamConfigAccess(qtest, ECAM_BASE)
  }

  initialize(): void {
    const hostBridge = functionNumber(0, 0, 0)
    this.#ports.write(hostBridge, PCIEXBAR + 4, 32, 0)
    this.#ports.write(hostBridge, PCIEXBAR, 32, ECAM_BASE | PCIEXBAR_ENABLE)
  }

  isBuiltIn(number: FunctionNumber): boolean {
    const device = number >> 3
    return device === 0 || device === 31
  }

  interruptPin(device: number, pin: number): number | undefined {
    // Slots from 25 up are routed by registers of the ICH9's root complex, which this bench does not set.
    if (device > 24) return undefined
    return 16 + 4 + ((device + pin) & 3)
  }
}

/** Configuration registers of the PIIX3 that route PIRQA to PIRQD, and where to: pins that no other device drives. */
const PIRQ_ROUTE = 0x60
const PIRQ_PINS: readonly number[] = [10, 11, 5, 7]

class PcPlatform implements Platform {
  readonly machine = 'pc'
  readonly config: ConfigAccess

  constructor(qtest: Qtest) {
    this.config = new PortConfigAccess(qtest)
  }

  initialize(): void {
    const isaBridge = functionNumber(0, 1, 0)
    for (const [line, pin] of PIRQ_PINS.entries()) this.config.write(isaBridge, PIRQ_ROUTE + line, 8, pin)
  }

  isBuiltIn(number: FunctionNumber): boolean {
    const device = number >> 3
    return device === 0 || device === 1
  }

  interruptPin(device: number, pin: number): number | undefined {
    return PIRQ_PINS[(device - 1 + pin) & 3]
  }
}
