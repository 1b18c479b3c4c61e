import { setTimeout as sleep } from 'node:timers/promises'
import { CommandError } from '@virtio-ts/command-line'
import { restoreDriver } from '@virtio-ts/pci/binding'
import { listNames } from '../devices/read-text.ts'
import type { JournalEntry } from './journal-entry.ts'
import { requireUnused } from './requirements.ts'
import { restoreInterface } from './restore-interface.ts'
import type { TakeoverHost } from './takeover-host.ts'

const pause = 50

/**
 * Gives a function back as the journal has it: driver, interfaces, addresses, routes; then the entry goes. Each step is left out where it
 * is done already, so that it works after a crash anywhere, and again after a failure. The caller has the lock.
 * @throws CommandError `takeover.incomplete` when something could not be restored: the entry stays; `takeover.in-use`; BindingError
 */
export async function restoreEntry(entry: JournalEntry, host: TakeoverHost): Promise<void> {
  const { address } = entry
  requireUnused(address, host)
  if (entry.driver !== null && !host.sysfs.exists(`bus/pci/drivers/${entry.driver}`))
    await host.loadModule(entry.driver)
  await restoreDriver(
    address,
    { driver: entry.driver ?? undefined, override: entry.override ?? undefined },
    { sysfs: host.sysfs, timeout: host.timeout },
  )
  // Its own driver has reset it.
  host.freeMemory(address)
  const problems = await restoreInterfaces(entry, host)
  if (problems.length > 0) {
    throw new CommandError(
      'takeover.incomplete',
      `${address} is back with ${entry.driver ?? 'no driver'}, but not as it was`,
      {
        why: problems,
        fix: `mend that and run "netd release ${address}" again; or leave it so: sudo rm ${host.journal.path(address)}`,
      },
    )
  }
  host.journal.remove(address)
}

async function restoreInterfaces(entry: JournalEntry, host: TakeoverHost): Promise<string[]> {
  if (entry.interfaces.length === 0) return []
  const appeared = await waitForInterfaces(entry, host)
  await host.settle()
  // udev may have renamed them.
  const names = appeared.length === 0 ? [] : interfacesOf(entry.address, host)
  const elapsed = (host.now() - entry.time) / 1000
  const problems: string[] = []
  for (const [index, former] of entry.interfaces.entries()) {
    const name = names.includes(former.name)
      ? former.name
      : (names.filter((each) => !entry.interfaces.some((other) => other.name === each))[index] ?? names[index])
    if (name === undefined) problems.push(`the interface ${former.name} did not come back within ${host.timeout} ms`)
    else problems.push(...(await restoreInterface(host.ip, name, former, elapsed)))
  }
  return problems
}

/** Interfaces of a function, by the kernel's order of names. */
export function interfacesOf(address: string, { roots }: TakeoverHost): readonly string[] {
  const directory = `${roots.sys}/bus/pci/devices/${address}`
  return listNames(directory)
    .filter((name) => /^virtio\d+$/.test(name))
    .flatMap((name) => listNames(`${directory}/${name}/net`))
}

async function waitForInterfaces(entry: JournalEntry, host: TakeoverHost): Promise<readonly string[]> {
  for (let waited = 0; ; waited += pause) {
    const found = interfacesOf(entry.address, host)
    if (found.length >= entry.interfaces.length || waited >= host.timeout) return found
    await sleep(pause)
  }
}
