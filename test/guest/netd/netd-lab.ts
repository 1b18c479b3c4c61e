import { createHash } from 'node:crypto'
import { type ChildProcess, execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { bootGuest, type Guest, type GuestProcess } from '../../../scripts/guest/linux-guest.mjs'
import { NetworkNamespace } from '../../support/network-namespace.ts'
import { expect } from 'vitest'
import { body } from './body.mjs'
import { LabNetd } from './lab-netd.ts'

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
const folder = '/virtio-ts/apps/netd'

/** A network device of the guest, on a network 10.0.NUMBER.0/24 of its own, in whose other end 10.0.NUMBER.2 everything of the peer is. */
export interface Nic {
  readonly number: number
  /** PCI slot on the root bus, or a root port's name with `bus=`. */
  readonly place: string
  /** As QEMU spells them. */
  readonly properties: string
  /** QEMU's user networking, or a TAP interface with so many queues, which takes offloads. */
  readonly backend: 'user' | number
}

/** Sums of a transfer, as each side has them. */
interface Transferred {
  readonly id: number
  readonly error?: string
  readonly down: string
  readonly up: string
}

/** The guest's MAC address of a NIC. */
export function macOf({ number }: Pick<Nic, 'number'>): string {
  return `52:54:00:00:00:${number.toString(16).padStart(2, '0')}`
}

/** A guest with network devices, whom they talk to, and netds in it. QEMU and the peer are in a network namespace. */
export class NetdLab {
  readonly guest: Guest
  readonly namespace: NetworkNamespace
  readonly #peer: ChildProcess
  readonly #port: number
  readonly #servers: readonly ChildProcess[]
  readonly #folder: string
  #client: GuestProcess | undefined
  #canary: GuestProcess | undefined
  #breaker: GuestProcess | undefined
  #spare: Promise<GuestProcess> | undefined
  #nextId = 1

  private constructor(
    guest: Guest,
    namespace: NetworkNamespace,
    peer: readonly [ChildProcess, number],
    servers: readonly ChildProcess[],
    leases: string,
  ) {
    this.guest = guest
    this.namespace = namespace
    this.#peer = peer[0]
    this.#port = peer[1]
    this.#servers = servers
    this.#folder = leases
  }

  static async boot(nics: readonly Nic[], options: NonNullable<Parameters<typeof bootGuest>[0]>): Promise<NetdLab> {
    const namespace = NetworkNamespace.create()
    const leases = mkdtempSync(join(tmpdir(), 'vts-lab-'))
    const servers: ChildProcess[] = []
    try {
      for (const nic of nics) if (nic.backend !== 'user') servers.push(makeTap(namespace, nic, leases))
      const peer = await startPeer(namespace)
      servers.push(peer[0])
      const guest = await bootGuest({
        ...options,
        networkNamespace: namespace.name,
        qemuArguments: [...(options.qemuArguments ?? []), ...nics.flatMap(nicArguments)],
        files: [
          { from: here('../../support/udhcpc-script.sh'), to: '/usr/bin/lease.sh' },
          ...['client.fixture.mjs', 'start-netd.fixture.mjs', 'canary.fixture.mjs', 'break-ring.fixture.mjs'].map(
            (name) => ({
              from: here(name),
              to: `${folder}/${name}`,
            }),
          ),
          ...(options.files ?? []),
        ],
      })
      return new NetdLab(guest, namespace, peer, servers, leases)
    } catch (error) {
      for (const server of servers) server.kill()
      namespace.close()
      rmSync(leases, { recursive: true })
      throw error
    }
  }

  /** Loads the drivers. Without IPv6, whose addresses take seconds to settle. */
  async ready(): Promise<void> {
    await this.shell('echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6; modprobe virtio_net; modprobe tun')
  }

  /** Runs commands of the shell in the guest. @returns stdout @throws when one fails */
  async shell(script: string, timeoutSeconds = 120): Promise<string> {
    const { code, stdout, stderr } = await this.guest.run(['sh', '-ec', script], { timeoutSeconds })
    if (code !== 0) throw new Error(`${script}: ${code} ${stdout}${stderr}`)
    return stdout.trim()
  }

  /** Starts `netd`, and loads the one after it meanwhile. */
  async start(...args: readonly string[]): Promise<LabNetd> {
    const process = await (this.#spare ?? this.#load())
    this.#spare = this.#load()
    process.write(`${JSON.stringify(args)}\n`)
    return new LabNetd(process)
  }

  /** Starts `netd run --json`, and waits until it runs. */
  async run(...args: readonly string[]): Promise<LabNetd> {
    const netd = await this.start('run', ...args, '--json')
    await netd.event('ready')
    return netd
  }

  /** A lease for an interface, by DHCP. @returns the address */
  async lease(name: string): Promise<string> {
    const output = await this.shell(`udhcpc -i ${name} -f -n -q -t 10 -T 2 -s /usr/bin/lease.sh 2>&1`)
    // Else the first of them would have all there is no other route for.
    await this.shell(`ip route del default dev ${name} 2>/dev/null || true`)
    return /^lease (.*)$/m.exec(output)?.[1] ?? output
  }

  /** Whether the peer of a NIC answers one of three. */
  async ping({ number }: Pick<Nic, 'number'>, from?: string): Promise<boolean> {
    const how = from === undefined ? [] : ['-I', from]
    const { code } = await this.guest.run(['ping', '-c', '3', '-i', '0.2', '-W', '10', ...how, `10.0.${number}.2`])
    return code === 0
  }

  /** Moves bytes both ways over TCP, one way after the other. @throws when a sum is not what it should be */
  async transfer({ number }: Pick<Nic, 'number'>, bytes: number): Promise<void> {
    this.#client ??= await this.guest.spawn(['node', `${folder}/client.fixture.mjs`], { stdin: true })
    const id = this.#nextId++
    this.#client.write(
      `${JSON.stringify({ id, host: `10.0.${number}.2`, port: this.#port, bytes, seed: id * 7919 })}\n`,
    )
    const line = await this.#client.waitForLine(new RegExp(`^\\{"id":${id},`), 200)
    const { error, down, up } = JSON.parse(line) as Transferred
    if (error !== undefined) throw new Error(`the transfer failed: ${error}`)
    const sent = body(bytes, id * 7919)
    expect({ down, up }).toEqual({ down: sha256(sent), up: sha256(sent.reverse()) })
  }

  /** Has the peer send datagrams to these addresses, and to no others any more. */
  flood(...addresses: readonly string[]): void {
    this.#peer.stdin?.write(`flood ${addresses.join(' ')}\n`)
  }

  /**
   * Takes memory of the guest that is free, and looks whether anybody else writes there for a second.
   * @param meanwhile starts what could write
   */
  async canary(
    kind: 'ordinary' | 'huge',
    meanwhile: () => void,
  ): Promise<{ readonly mebibytes: number; readonly changed: number }> {
    this.#canary ??= await this.guest.spawn(['node', `${folder}/canary.fixture.mjs`], { stdin: true })
    const id = this.#nextId++
    this.#canary.write(`${JSON.stringify({ id, kind })}\n`)
    await this.#canary.waitForLine(new RegExp(`^filled ${id}$`), 120)
    meanwhile()
    return JSON.parse(await this.#canary.waitForLine(new RegExp(`^\\{"id":${id},`), 120))
  }

  /** Changes descriptors of a netd's device behind its back. */
  async breakRing(order: {
    readonly pid: number
    readonly at: number
    readonly count: number
    readonly what: 'length' | 'address'
  }): Promise<void> {
    this.#breaker ??= await this.guest.spawn(['node', `${folder}/break-ring.fixture.mjs`], { stdin: true })
    const id = this.#nextId++
    this.#breaker.write(`${JSON.stringify({ id, ...order })}\n`)
    await this.#breaker.waitForLine(new RegExp(`^\\{"id":${id}\\}`), 60)
  }

  /** Of a NIC, as QEMU spells `-device`: to plug it in again. */
  deviceOf(nic: Nic): string {
    return nicDevice(nic)
  }

  /** Powers the guest off; what its kernel or QEMU complained of fails it. */
  async close(expectComplaints?: RegExp): Promise<void> {
    try {
      this.#client?.endInput()
      this.#canary?.endInput()
      this.#breaker?.endInput()
      ;(await this.#spare?.catch(() => undefined))?.endInput()
      await this.guest.shutdown({ expectComplaints })
    } finally {
      for (const server of this.#servers) server.kill()
      this.namespace.close()
      rmSync(this.#folder, { recursive: true })
    }
  }

  async #load(): Promise<GuestProcess> {
    const process = await this.guest.spawn(['node', `${folder}/start-netd.fixture.mjs`], { stdin: true })
    await process.waitForLine(/^waiting$/, 120)
    return process
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

function nicArguments(nic: Nic): string[] {
  const { number, backend } = nic
  const netdev =
    backend === 'user'
      ? `user,id=net${number},ipv6=off,net=10.0.${number}.0/24`
      : `tap,id=net${number},ifname=q${number},script=no,downscript=no${backend === 1 ? '' : `,queues=${backend}`}`
  return ['-netdev', netdev, '-device', nicDevice(nic)]
}

function nicDevice(nic: Nic): string {
  const { number, place, properties } = nic
  return `virtio-net-pci,id=nic${number},netdev=net${number},mac=${macOf(nic)},${place},${properties},romfile=`
}

/** The other end of a cable: an interface of the namespace, with an address, and somebody who gives addresses away. */
function makeTap(namespace: NetworkNamespace, { number, backend }: Nic, leases: string): ChildProcess {
  const name = `q${number}`
  const queues = backend === 1 ? [] : ['multi_queue']
  namespace.run('ip', 'tuntap', 'add', 'dev', name, 'mode', 'tap', 'vnet_hdr', ...queues)
  namespace.run('ip', 'address', 'add', `10.0.${number}.2/24`, 'dev', name)
  namespace.run('ip', 'link', 'set', name, 'up')
  const file = join(leases, `${name}.conf`)
  const state = join(leases, `${name}.leases`)
  writeFileSync(state, '')
  writeFileSync(
    file,
    `start 10.0.${number}.15\nend 10.0.${number}.20\ninterface ${name}\nlease_file ${state}\npidfile ${state}.pid\noption subnet 255.255.255.0\n`,
  )
  return namespace.spawn('busybox', ['udhcpd', '-f', file], { stdio: 'ignore' })
}

async function startPeer(namespace: NetworkNamespace): Promise<readonly [ChildProcess, number]> {
  const child = namespace.spawn(process.execPath, [here('peer.fixture.mjs')], { stdio: ['pipe', 'pipe', 'inherit'] })
  if (child.stdout === null) throw new Error('no pipe')
  for await (const line of createInterface({ input: child.stdout })) return [child, Number(line)]
  throw new Error('the peer has ended')
}

/** What the machine lacks for a lab. */
export function labProblem(): string | undefined {
  try {
    execFileSync('busybox', ['udhcpd', '--help'], { stdio: 'ignore' })
    return undefined
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT'
      ? 'busybox is not installed (apt-get install busybox)'
      : undefined
  }
}
