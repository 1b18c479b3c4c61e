import { type CommandIo, ExitCode, printable, printJson, printLine, printMessage } from '@virtio-ts/command-line'
import pc from 'picocolors'
import { type DevicesSource, describeDevices } from '../devices/describe-devices.ts'
import type { FunctionInterface, VirtioFunction } from '../devices/virtio-function.ts'
import { thisHost } from '../takeover/takeover-host.ts'

function hex(number: number): string {
  return number.toString(16).padStart(4, '0')
}

function interfaceText({ name, mac, mtu, defaultRoute, up }: FunctionInterface): string {
  return [
    name,
    ...(mac === null ? [] : [mac]),
    ...(mtu === null ? [] : [`MTU ${mtu}`]),
    ...(up ? [] : ['(down)']),
    ...(defaultRoute ? ['(default route)'] : []),
  ].join(' ')
}

function groupText({ iommuGroup, groupMembers }: VirtioFunction): string {
  if (iommuGroup === null) return 'none'
  const others = groupMembers.map(({ address, driver }) => `${address} (${driver ?? 'no driver'})`)
  return others.length === 0 ? String(iommuGroup) : `${iommuGroup}, with ${others.join(', ')}`
}

function takenText({ driver, interfaces }: NonNullable<VirtioFunction['taken']>): string {
  const had = interfaces.length === 0 ? '' : `, where it was ${interfaces.join(', ')}`
  return `from ${driver ?? 'no driver'}${had}; netd release gives it back`
}

/** As `lspci -k` has it: the function in one line, what is to know about it below. No final line feed. */
export function renderDevice(found: VirtioFunction, color = false): string {
  const { bold, dim, yellow } = pc.createColors(color)
  const lines = [
    `${bold(found.address)}  ${hex(found.vendor)}:${hex(found.device)} (rev ${found.revision})  ${found.label} (${found.generation.replaceAll('-', ' ')})`,
  ]
  const about = (name: string, text: string, paint: (text: string) => string = String) =>
    lines.push(`  ${dim(`${name}:`)} ${paint(printable(text))}`)
  about('driver in use', found.driver ?? 'none')
  if (found.taken !== null) about('taken', takenText(found.taken))
  about('IOMMU group', groupText(found))
  for (const each of found.interfaces) {
    about('interface', interfaceText(each), each.defaultRoute ? yellow : String)
    for (const address of each.addresses) about('  address', address)
    for (const route of each.routes) about('  route', route)
  }
  for (const [index, need] of found.needs.entries()) about(index === 0 ? 'netd would need' : '            and', need)
  return lines.join('\n')
}

/** `netd devices` */
export async function devices(
  { json }: { readonly json: boolean },
  io: CommandIo,
  source: DevicesSource = thisHost(),
): Promise<number> {
  const { functions, problems } = await describeDevices(source)
  for (const { message } of problems)
    printMessage(io, `addresses and routes of an interface are left out: ${printable(message)}`)
  if (json) await printJson(io, functions)
  else if (functions.length === 0) printMessage(io, 'no virtio PCI function on this machine')
  for (const [index, each] of json ? [] : functions.entries()) {
    if (index > 0) await printLine(io, '')
    await printLine(io, renderDevice(each, io.color))
  }
  return ExitCode.OK
}
