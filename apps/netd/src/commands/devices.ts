import { type CommandIo, ExitCode, printable, printJson, printLine, printMessage } from '@virtio-ts/command-line'
import pc from 'picocolors'
import { type SystemRoots, scanDevices } from '../devices/scan-devices.ts'
import type { VirtioFunction } from '../devices/virtio-function.ts'

function hex(number: number): string {
  return number.toString(16).padStart(4, '0')
}

function interfaceText({ name, defaultRoute, up }: VirtioFunction['interfaces'][number]): string {
  return [printable(name), ...(up ? [] : ['(down)']), ...(defaultRoute ? ['(default route)'] : [])].join(' ')
}

/** As `lspci -k` has it: the function in one line, what is to know about it below. No final line feed. */
export function renderDevice(found: VirtioFunction, color = false): string {
  const { bold, dim, yellow } = pc.createColors(color)
  const lines = [
    `${bold(found.address)}  ${hex(found.vendor)}:${hex(found.device)} (rev ${found.revision})  ${found.label} (${found.generation.replaceAll('-', ' ')})`,
  ]
  const about = (name: string, text: string) => lines.push(`  ${dim(`${name}:`)} ${text}`)
  about('driver in use', printable(found.driver ?? 'none'))
  about('IOMMU group', String(found.iommuGroup ?? 'none'))
  if (found.interfaces.length > 0) {
    const text = found.interfaces.map(interfaceText).join(', ')
    about('interface', found.interfaces.some(({ defaultRoute }) => defaultRoute) ? yellow(text) : text)
  }
  for (const [index, need] of found.needs.entries())
    about(index === 0 ? 'netd would need' : '            and', printable(need))
  return lines.join('\n')
}

/** `netd devices` */
export async function devices(
  { json }: { readonly json: boolean },
  io: CommandIo,
  roots?: SystemRoots,
): Promise<number> {
  const found = scanDevices(roots)
  if (json) await printJson(io, found)
  else if (found.length === 0) printMessage(io, 'no virtio PCI function on this machine')
  for (const [index, each] of json ? [] : found.entries()) {
    if (index > 0) await printLine(io, '')
    await printLine(io, renderDevice(each, io.color))
  }
  return ExitCode.OK
}
