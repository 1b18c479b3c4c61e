import { CommandError } from '@virtio-ts/command-line'
import { type AddressState, addressFromIp, addressState } from './address-state.ts'
import type { IpCommand } from './ip-command.ts'
import { interfaceName, macAddress } from './network-patterns.ts'
import { FieldError, PlainFields } from './plain-fields.ts'
import { type RouteState, routeFromIp, routeState } from './route-state.ts'

/** A network interface, as it has to be again when its device comes back. */
export interface InterfaceState {
  readonly name: string
  /** `52:54:00:12:34:56` */
  readonly mac: string
  readonly mtu: number
  readonly up: boolean
  /** The bridge or bond it belongs to. */
  readonly master: string | null
  readonly addresses: readonly AddressState[]
  readonly routes: readonly RouteState[]
}

/** @throws FieldError */
export function interfaceState(value: unknown, where: string): InterfaceState {
  const fields = new PlainFields(value, where)
  const state = {
    name: fields.text('name', interfaceName),
    mac: fields.text('mac', macAddress),
    mtu: fields.integer('mtu', 0, 0xffff_ffff),
    up: fields.flag('up'),
    master: fields.textOrNull('master', interfaceName),
    addresses: fields.list('addresses', addressState),
    routes: fields.list('routes', routeState),
  }
  fields.finish()
  return state
}

/** Reads what an interface has now. @throws CommandError `takeover.ip` */
export async function readInterface(ip: IpCommand, name: string): Promise<InterfaceState> {
  try {
    return await readFields(ip, name)
  } catch (error) {
    if (!(error instanceof FieldError)) throw error
    throw new CommandError('takeover.ip', `what ip says of ${name} cannot be recorded, and so not be restored`, {
      why: error.message,
      fix: 'please report it, with what "ip -json -details address; ip -json -details route" print',
    })
  }
}

async function readFields(ip: IpCommand, name: string): Promise<InterfaceState> {
  const [found] = await ip.list(['address', 'show', 'dev', name])
  const from = new PlainFields(found, `ip's answer for ${name}`)
  const routes: RouteState[] = []
  for (const family of ['inet', 'inet6'] as const) {
    // Not `dev NAME`: that leaves out routes with several hops.
    const all = await ip.list([family === 'inet' ? '-4' : '-6', 'route', 'show', 'table', 'all'])
    routes.push(...all.flatMap((route) => routeFromIp(route, family, name) ?? []))
  }
  return {
    name,
    mac: from.text('address', macAddress),
    mtu: from.integer('mtu', 0, 0xffff_ffff),
    up: from.list('flags', String).includes('UP'),
    master: from.optionalText('master', interfaceName) ?? null,
    addresses: from.list('addr_info', (address) => addressFromIp(address)).filter((address) => address !== undefined),
    routes,
  }
}
