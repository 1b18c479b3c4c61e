import { addressText } from '../takeover/address-state.ts'
import { readInterface } from '../takeover/interface-state.ts'
import type { IpCommand } from '../takeover/ip-command.ts'
import type { Journal } from '../takeover/journal.ts'
import { routeText } from '../takeover/route-state.ts'
import { type SystemRoots, scanDevices } from './scan-devices.ts'
import type { FunctionInterface, VirtioFunction } from './virtio-function.ts'

export interface DevicesSource {
  readonly roots: SystemRoots
  readonly ip: IpCommand
  readonly journal: Journal
}

/** The virtio functions of this machine with what `scanDevices` alone cannot say, and what kept it from being said. */
export async function describeDevices({ roots, ip, journal }: DevicesSource): Promise<{
  readonly functions: readonly VirtioFunction[]
  readonly problems: readonly Error[]
}> {
  const problems: Error[] = []
  const describeInterface = async (found: FunctionInterface): Promise<FunctionInterface> => {
    try {
      const { addresses, routes } = await readInterface(ip, found.name)
      return { ...found, addresses: addresses.map(addressText), routes: routes.map(routeText) }
    } catch (error) {
      problems.push(error as Error)
      return found
    }
  }
  const takenFrom = (address: string): VirtioFunction['taken'] => {
    try {
      const entry = journal.read(address)
      return entry === undefined ? null : { driver: entry.driver, interfaces: entry.interfaces.map(({ name }) => name) }
    } catch {
      // Root's alone, or not to be trusted, which `netd release` will say.
      return null
    }
  }
  const functions: VirtioFunction[] = []
  for (const found of scanDevices(roots)) {
    const interfaces = []
    for (const each of found.interfaces) interfaces.push(await describeInterface(each))
    functions.push({ ...found, interfaces, taken: takenFrom(found.address) })
  }
  return { functions, problems }
}
