// @ts-check
// The guest: one boot, a NIC for each case, and netd on those that are its.
import { bootGuest } from '../../scripts/guest/linux-guest.mjs'
import { addressOf, nicArguments } from './cases.mjs'
import { describeGuest } from './describe-guest.mjs'
import { BenchNamespace, link } from './namespace.mjs'

/** @typedef {import('./cases.mjs').Case} Case */

const HUGEPAGES = 64
const ATTEMPTS = 3

/** A guest with all NICs up; close it. */
export class BenchGuest {
  #guest
  #namespace
  /** @type {Map<string, string>} */
  #targets

  /** @param {import('../../scripts/guest/linux-guest.mjs').Guest} guest @param {BenchNamespace} namespace @param {Map<string, string>} targets */
  constructor(guest, namespace, targets) {
    this.#guest = guest
    this.#namespace = namespace
    this.#targets = targets
  }

  /** @param {readonly Case[]} cases @param {number} timeoutSeconds @returns {Promise<BenchGuest>} */
  static async boot(cases, timeoutSeconds) {
    const links = cases.map((_, index) => link(index))
    const namespace = new BenchNamespace(links)
    /** @type {import('../../scripts/guest/linux-guest.mjs').Guest | undefined} */
    let guest
    try {
      await namespace.serve()
      guest = await bootGuest({
        timeoutSeconds,
        iommu: true,
        hugepages: HUGEPAGES,
        memoryMegabytes: 1536,
        networkNamespace: namespace.name,
        // Debian's default, and no translation for the kernel's own drivers: they are compared at their best.
        kernelArguments: 'init_on_alloc=1 iommu=pt',
        qemuArguments: cases.flatMap((one, index) => nicArguments(one, index, links[index]?.tap ?? '')),
      })
      const bench = new BenchGuest(guest, namespace, new Map(cases.map(({ name }, i) => [name, links[i]?.host ?? ''])))
      await bench.#setUp(cases)
      return bench
    } catch (error) {
      await guest?.kill()
      namespace.close()
      throw error
    }
  }

  /** One line about the guest: what its figures depend on. @returns {Promise<string>} */
  describe() {
    return describeGuest(this.#guest)
  }

  /**
   * One turn of a measurement. Measuring tools lose their way at times on a busy machine: then it is done again.
   * @param {Case} one @param {import('./measures.mjs').Measure} measure @param {boolean} quick @returns {Promise<number[]>}
   */
  async measure(one, measure, quick) {
    const command = measure.command(this.#targets.get(one.name) ?? '', quick)
    for (let attempt = 1; ; attempt++) {
      const { stdout, stderr } = await this.#guest.run(command, { timeoutSeconds: 60 })
      try {
        return measure.read(stdout)
      } catch (cause) {
        if (attempt === ATTEMPTS) throw new Error(`${one.name}: ${command.join(' ')}: ${stderr}`, { cause })
        await new Promise((resolve) => setTimeout(resolve, 1000))
      }
    }
  }

  /** Powers off and removes everything. @throws GuestError `guest.complaint` when the kernel or QEMU complained */
  async close() {
    try {
      await this.#guest.shutdown()
    } finally {
      await this.kill()
    }
  }

  async kill() {
    await this.#guest.kill()
    this.#namespace.close()
  }

  /** @param {readonly Case[]} cases */
  async #setUp(cases) {
    await this.#shell('echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6; modprobe -a e1000 virtio_net tun')
    for (const [index, one] of cases.entries()) {
      const name = one.driver === 'kernel' ? await this.#kernelInterface(index) : await this.#startNetd(one, index)
      await this.#shell(`ip address add ${link(index).guest}/24 dev ${name}; ip link set ${name} up`)
      // The first frame finds out where the other side is.
      await this.#shell(`ping -q -c 1 -w 20 ${link(index).host}`)
    }
  }

  /** @param {number} index @returns {Promise<string>} */
  #kernelInterface(index) {
    return this.#shell(
      `basename "$(ls -d /sys/bus/pci/devices/${addressOf(index)}/net/* /sys/bus/pci/devices/${addressOf(index)}/virtio*/net/* 2>/dev/null)"`,
    )
  }

  /** @param {Case} one @param {number} index @returns {Promise<string>} the TAP's name */
  async #startNetd(one, index) {
    const tap = `netd${index}`
    const locator = `${one.driver}:${addressOf(index)}`
    const netd = await this.#guest.spawn(['netd', 'run', locator, '--tap', tap, '--json', ...one.flags])
    await netd.waitForLine(/"ready"/)
    return tap
  }

  /** @param {string} script @returns {Promise<string>} */
  async #shell(script) {
    const { code, stdout, stderr } = await this.#guest.run(['sh', '-euc', script])
    if (code !== 0) throw new Error(`in the guest: ${script}: status ${code}: ${stderr}${stdout}`)
    return stdout.trim()
  }
}
