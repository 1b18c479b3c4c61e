import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import { type Guest, bootGuest } from '../../scripts/guest/linux-guest.mjs'

const DRIVE = '/virtio-ts/guest-tests/drive.mjs'
const SYS = '/sys/bus/pci/devices'

/** A job of `drive.fixture.mjs`. */
export interface Job {
  readonly job: 'net' | 'rng' | 'open' | 'leave' | 'reset' | 'stay'
  readonly bus: 'vfio' | 'sysfs'
  readonly address: string
  /** Options of openVfio or openSysfs. */
  readonly open?: object
  /** Options of VirtioPciDriver.attach. */
  readonly attach?: object
  /** Options of the driver's open. */
  readonly driver?: object
  /** Resets the function before its device is driven. */
  readonly reset?: boolean
  readonly rounds?: number
}

export interface JobResult {
  readonly error?: { readonly name: string; readonly code: string; readonly message: string }
  readonly fds: number
  readonly [key: string]: unknown
}

/** A guest with functions that programs of this project drive. */
export class DrivenGuest {
  readonly guest: Guest
  #driver: Awaited<ReturnType<Guest['spawn']>> | undefined
  #next = 1

  private constructor(guest: Guest) {
    this.guest = guest
  }

  static async boot(options: Parameters<typeof bootGuest>[0]): Promise<DrivenGuest> {
    const files = [{ from: fileURLToPath(new URL('./drive.fixture.mjs', import.meta.url)), to: DRIVE }]
    return new DrivenGuest(await bootGuest({ ...options, files }))
  }

  /** A shell script's stdout. */
  async shell(script: string): Promise<string> {
    const { code, stdout, stderr } = await this.guest.run(['sh', '-ec', script])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    return stdout.trim()
  }

  /** Gives functions to a kernel driver: `vfio-pci`, `uio_pci_generic`, or '' for the one that Linux has for them. */
  async bind(driver: string, ...addresses: readonly string[]): Promise<void> {
    await this.shell(
      addresses
        .map(
          (address) => `echo ${driver === '' ? '' : driver} > ${SYS}/${address}/driver_override
            [ ! -e ${SYS}/${address}/driver ] || echo ${address} > ${SYS}/${address}/driver/unbind
            echo ${address} > /sys/bus/pci/drivers_probe`,
        )
        .join('\n'),
    )
  }

  /** Takes functions from whatever driver has them. */
  async unbind(...addresses: readonly string[]): Promise<void> {
    await this.shell(addresses.map((address) => `echo ${address} > ${SYS}/${address}/driver/unbind`).join('\n'))
  }

  driverOf(address: string): Promise<string> {
    return this.shell(`basename "$(readlink ${SYS}/${address}/driver)"`)
  }

  /** Addresses of the functions behind a bridge. */
  async behind(bridge: string): Promise<string[]> {
    return (await this.shell(`cd ${SYS}/${bridge} && ls -d 0000:*.[0-7]`)).split('\n')
  }

  /**
   * Runs jobs one after the other, in a process that stays for the next ones.
   * @param wrap what starts a process of its own for these, e.g. as another user
   */
  async drive(jobs: readonly Job[], wrap?: readonly string[]): Promise<JobResult[]> {
    if (wrap !== undefined) {
      const { code, stdout, stderr } = await this.guest.run([...wrap, 'node', DRIVE, JSON.stringify(jobs)], {
        timeoutSeconds: 60,
      })
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      return JSON.parse(stdout).results
    }
    this.#driver ??= await this.guest.spawn(['node', DRIVE], { stdin: true })
    const id = this.#next++
    this.#driver.write(`${JSON.stringify({ id, list: jobs })}\n`)
    return JSON.parse(await this.#driver.waitForLine(new RegExp(`^{"id":${id},.*}$`), 60)).results
  }

  /** Powers the guest off; DMA faults and warnings of its kernel fail it. */
  async shutdown(): Promise<void> {
    this.#driver?.endInput()
    await this.#driver?.exited
    await this.guest.shutdown()
  }

  /** Drives one function until it is gone, or the process is killed; resolves once it works. */
  async stay(job: Omit<Job, 'job'>): Promise<Awaited<ReturnType<Guest['spawn']>>> {
    const process = await this.guest.spawn(['node', DRIVE, JSON.stringify([{ ...job, job: 'stay' }])])
    await process.waitForLine(/"staying":3/, 60)
    return process
  }
}

/** QEMU's arguments for a network device on a network of its own, whose gateway is 10.0.2.2. */
export function netDevice(id: string, place: string, properties: string): string[] {
  const device = `virtio-net-pci,id=${id},netdev=${id}-net,romfile=,${place},${properties}`
  return ['-netdev', `user,id=${id}-net,restrict=on`, '-device', device]
}

/** What slirp's gateway answers from. */
export const GATEWAY_MAC = '52550a000202'
