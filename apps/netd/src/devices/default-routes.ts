import { readText } from './read-text.ts'

const routeUp = 1

/**
 * Interfaces that a default route goes over, by the kernel's own tables.
 * @param proc where procfs is
 */
export function defaultRouteInterfaces(proc: string): ReadonlySet<string> {
  const interfaces = new Set<string>()
  for (const line of (readText(`${proc}/net/route`) ?? '').split('\n').slice(1)) {
    const [name, destination, , flags, , , , mask] = line.trim().split(/\s+/)
    if (name && destination === '00000000' && mask === '00000000' && Number.parseInt(flags ?? '0', 16) & routeUp)
      interfaces.add(name)
  }
  for (const line of (readText(`${proc}/net/ipv6_route`) ?? '').split('\n')) {
    const [destination = '', prefix, , , , , , , flags, name] = line.trim().split(/\s+/)
    // Every machine has an unreachable default route over lo.
    if (
      name &&
      name !== 'lo' &&
      /^0{32}$/.test(destination) &&
      prefix === '00' &&
      Number.parseInt(flags ?? '0', 16) & routeUp
    )
      interfaces.add(name)
  }
  return interfaces
}
