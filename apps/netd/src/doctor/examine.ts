import type { Check, CheckResult } from './check.ts'
import { hugepagesCheck, iommuCheck, memlockCheck, vfioCheck, vfioGroupsCheck } from './device-checks.ts'
import { type Machine, thisMachine } from './machine.ts'
import { nativeCheck, nodeCheck, platformCheck, qemuCheck } from './program-checks.ts'
import { bindingCheck, ipCheck, pagemapCheck, ptraceCheck, uioCheck } from './takeover-checks.ts'
import { namespaceCheck, permissionCheck, tunCheck } from './tap-checks.ts'

/** What comes first is what everything after it needs. */
const checks: readonly Check[] = [
  platformCheck,
  nodeCheck,
  nativeCheck,
  tunCheck,
  permissionCheck,
  namespaceCheck,
  qemuCheck,
  hugepagesCheck,
  memlockCheck,
  iommuCheck,
  vfioCheck,
  vfioGroupsCheck,
  bindingCheck,
  ipCheck,
  uioCheck,
  pagemapCheck,
  ptraceCheck,
]

/** Runs every check. Looks only: nothing on the machine is changed. */
export async function examine(machine: Machine = thisMachine): Promise<CheckResult[]> {
  const results: CheckResult[] = []
  for (const check of checks) results.push(await check(machine))
  return results
}
