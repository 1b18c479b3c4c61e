import { setTimeout as sleep } from 'node:timers/promises'
import { CommandError, codeOf } from '@virtio-ts/command-line'
import { type AddressState, addressArguments, addressText } from './address-state.ts'
import { type InterfaceState, readInterface } from './interface-state.ts'
import type { IpCommand } from './ip-command.ts'
import { type RouteState, routeArguments, routeText } from './route-state.ts'

/** How long IPv6 may take to see that nobody else has an address, in milliseconds. */
const detectionLimit = 3000
const pause = 100

/**
 * Makes an interface what it was: name, MAC, MTU, bridge or bond, addresses, up, routes. What is so already is left alone, so that it
 * can be done again.
 * @param name what the kernel calls it now
 * @param elapsed seconds since `former` was recorded
 * @returns what could not be restored, in words; each thing that can be, is
 */
export async function restoreInterface(
  ip: IpCommand,
  name: string,
  former: InterfaceState,
  elapsed: number,
): Promise<string[]> {
  const problems: string[] = []
  const attempt = async (what: string, args: readonly string[]): Promise<boolean> => {
    try {
      await ip.run(args)
      return true
    } catch (error) {
      problems.push(`${what}: ${wordsOf(error)}`)
      return false
    }
  }
  const set = (what: string, ...args: string[]): Promise<boolean> => attempt(what, ['link', 'set', 'dev', ...args])

  const now = await readInterface(ip, name)
  let current = name
  if (now.name !== former.name || now.mac !== former.mac) {
    // Neither can be changed on every interface that is up.
    if (now.up) await set(`taking ${current} down`, current, 'down')
    if (now.name !== former.name && (await set(`the name ${former.name}`, current, 'name', former.name)))
      current = former.name
    if (now.mac !== former.mac) await set(`the MAC address ${former.mac}`, current, 'address', former.mac)
  }
  if (now.mtu !== former.mtu) await set(`the MTU ${former.mtu}`, current, 'mtu', String(former.mtu))
  if (former.master !== null && now.master !== former.master)
    await set(`its place in ${former.master}`, current, 'master', former.master)
  if (former.up) await set(`bringing ${current} up`, current, 'up')
  for (const address of inOrderOfGiving(former.addresses)) {
    const args = addressArguments(address, current, former.name, elapsed)
    if (args !== undefined) await attempt(`the address ${addressText(address)}`, args)
  }
  if (former.up) await restoreRoutes(ip, current, former, elapsed, problems)
  return problems
}

/** The kernel lists IPv6 addresses from the newest to the oldest, and prefers them so as a source. */
function inOrderOfGiving(addresses: readonly AddressState[]): readonly AddressState[] {
  const inet = addresses.filter(({ family }) => family === 'inet')
  return [...inet, ...addresses.filter(({ family }) => family === 'inet6').toReversed()]
}

async function restoreRoutes(
  ip: IpCommand,
  current: string,
  former: InterfaceState,
  elapsed: number,
  problems: string[],
): Promise<void> {
  const rename = (dev: string): string => (dev === former.name ? current : dev)
  // A route can have an address as its source once it is known that nobody else has it.
  if (former.routes.some(({ family, source }) => family === 'inet6' && source !== undefined))
    await waitForAddresses(ip, current)
  for (const route of inOrder(former.routes)) {
    const args = routeArguments(route, rename, elapsed)
    if (args === undefined) continue
    try {
      await ip.run(args)
    } catch (error) {
      if (await isThere(ip, route, current, former.name)) continue
      problems.push(`the route ${routeText(route)}: ${wordsOf(error)}`)
    }
  }
}

/** A gateway has to be reachable before a route can go over it. */
function inOrder(routes: readonly RouteState[]): readonly RouteState[] {
  const rank = (route: RouteState): number => (route.hops.some(({ gateway }) => gateway !== undefined) ? 1 : 0)
  return routes.toSorted((a, b) => rank(a) - rank(b))
}

async function isThere(ip: IpCommand, route: RouteState, current: string, formerName: string): Promise<boolean> {
  const { routes } = await readInterface(ip, current)
  const text = (each: RouteState): string =>
    JSON.stringify([each.family, each.type, routeText(each), each.metric ?? 0, each.from])
  const isOver = (each: RouteState): boolean => each.hops.some(({ dev }) => dev === current || dev === formerName)
  return routes.some((each) => isOver(each) && text(each) === text(route))
}

async function waitForAddresses(ip: IpCommand, name: string): Promise<void> {
  for (let waited = 0; waited < detectionLimit; waited += pause) {
    const found = await ip.list(['-6', 'address', 'show', 'dev', name, 'tentative'])
    if (!found.some((each) => ((each as { addr_info?: readonly unknown[] }).addr_info ?? []).length > 0)) return
    await sleep(pause)
  }
}

function wordsOf(error: unknown): string {
  if (error instanceof CommandError && codeOf(error) === 'takeover.ip') return error.why.join('; ') || error.message
  return error instanceof Error ? error.message : String(error)
}
