import { CommandError } from '@virtio-ts/command-line'
import type { IpCommand } from './ip-command.ts'

type IpObject = Record<string, unknown>

interface FakeInterface {
  address: string
  mtu: number
  flags: string[]
  master?: string
  addr_info: IpObject[]
}

/** Interfaces, addresses and routes in memory, and an ip(8) that knows as much of its command line as taking over uses. */
export class FakeNetwork {
  readonly interfaces = new Map<string, FakeInterface>()
  /** As `ip -json route` has them, with `family` besides. */
  routes: IpObject[] = []
  /** Commands that changed something. */
  readonly commands: string[] = []
  onCommand: (args: readonly string[], when: 'before' | 'after') => void = () => {}
  onRename: (from: string, to: string) => void = () => {}
  /** Words that make a command fail. */
  refusing: RegExp | undefined

  readonly ip: IpCommand = {
    list: async (args) => this.#list(args),
    run: async (args) => {
      this.onCommand(args, 'before')
      const text = args.join(' ')
      if (this.refusing?.test(text)) throw refusal('RTNETLINK answers: Operation not permitted')
      this.commands.push(text)
      this.#obey(args)
      this.onCommand(args, 'after')
    },
  }

  /** As the kernel makes one: down, without addresses. */
  appear(name: string, mac: string): void {
    this.interfaces.set(name, { address: mac, mtu: 1500, flags: ['BROADCAST', 'MULTICAST'], addr_info: [] })
  }

  /** With everything that depended on it. */
  vanish(name: string): void {
    this.interfaces.delete(name)
    this.routes = this.routes.filter(({ dev }) => dev !== name)
  }

  /** Everything there is, in an order that does not depend on how it came to be. */
  get state(): unknown {
    const byText = (a: IpObject, b: IpObject): number => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)
    return {
      interfaces: [...this.interfaces].map(([name, each]) => ({
        name,
        ...each,
        flags: each.flags.toSorted(),
        addr_info: each.addr_info.toSorted(byText),
      })),
      routes: this.routes.toSorted(byText),
    }
  }

  #list(args: readonly string[]): readonly unknown[] {
    if (args.includes('tentative')) return []
    if (args[0] === 'address') {
      const name = args.at(-1) ?? ''
      const found = this.interfaces.get(name)
      if (found === undefined) throw refusal(`Device "${name}" does not exist.`)
      return [{ ifname: name, ...found }]
    }
    const family = args[0] === '-4' ? 'inet' : 'inet6'
    return this.routes.filter((route) => route['family'] === family)
  }

  #obey(args: readonly string[]): void {
    const dev = args[args.indexOf('dev') + 1] ?? ''
    const found = this.interfaces.get(dev)
    if (found === undefined) throw refusal(`Cannot find device "${dev}"`)
    const value = (name: string): string | undefined => {
      const at = args.indexOf(name)
      return at < 0 ? undefined : args[at + 1]
    }
    if (args[0] === 'link') {
      const what = args[4]
      if (what === 'up') found.flags = [...new Set([...found.flags, 'UP'])]
      else if (what === 'down') {
        found.flags = found.flags.filter((flag) => flag !== 'UP')
        found.addr_info = found.addr_info.filter((each) => each['family'] !== 'inet6')
        this.routes = this.routes.filter((route) => route['dev'] !== dev)
      } else if (what === 'address') found.address = args[5] ?? ''
      else if (what === 'mtu') found.mtu = Number(args[5])
      else if (what === 'master') found.master = args[5] ?? ''
      else if (what === 'name') {
        if (found.flags.includes('UP')) throw refusal('RTNETLINK answers: Device or resource busy')
        if (this.interfaces.has(args[5] ?? '')) throw refusal('RTNETLINK answers: File exists')
        this.interfaces.delete(dev)
        this.interfaces.set(args[5] ?? '', found)
        this.onRename(dev, args[5] ?? '')
      }
      return
    }
    const family = args[0] === '-4' ? 'inet' : 'inet6'
    if (args[1] === 'address') {
      const [local, prefixlen] = (args[3] ?? '').split('/')
      found.addr_info = found.addr_info.filter((each) => each['local'] !== local)
      found.addr_info.push({
        family,
        local,
        prefixlen: Number(prefixlen),
        ...(value('broadcast') === undefined ? {} : { broadcast: value('broadcast') }),
        scope: value('scope'),
        ...(value('label') === undefined ? {} : { label: value('label') }),
        valid_life_time: Number(value('valid_lft') ?? 0xffff_ffff),
        preferred_life_time: Number(value('preferred_lft') ?? 0xffff_ffff),
      })
      return
    }
    if (!found.flags.includes('UP')) throw refusal('RTNETLINK answers: Network is down')
    const route = {
      family,
      type: 'unicast',
      dst: args[3],
      ...(value('via') === undefined ? {} : { gateway: value('via') }),
      dev,
      table: value('table'),
      protocol: value('proto'),
      ...(value('scope') === undefined ? {} : { scope: value('scope') }),
      ...(value('src') === undefined ? {} : { prefsrc: value('src') }),
      ...(value('metric') === undefined ? {} : { metric: Number(value('metric')) }),
      flags: args.includes('onlink') ? ['onlink'] : [],
    }
    if (
      this.routes.some(
        (each) => each['dst'] === route.dst && each['metric'] === route.metric && each['family'] === family,
      )
    )
      throw refusal('RTNETLINK answers: File exists')
    this.routes.push(route)
  }
}

function refusal(why: string): CommandError {
  return new CommandError('takeover.ip', 'ip failed', { why })
}
