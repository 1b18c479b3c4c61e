import { Capability, hasCapability } from './capabilities.ts'
import { type Check, fail, pass, warn } from './check.ts'
import type { Machine } from './machine.ts'

const tun = '/dev/net/tun'

export const tunCheck: Check = (machine) => {
  if (!machine.exists(tun)) {
    return fail(
      'tun',
      `${tun} is missing: no TAP interface can be made`,
      'sudo modprobe tun   (in a container: --device /dev/net/tun)',
    )
  }
  const error = machine.tryOpen(tun)
  if (error === undefined) return pass('tun', `${tun} opens`)
  if (error === 'EACCES' || error === 'EPERM')
    return fail(
      'tun',
      `${tun} may not be opened (${error})`,
      `sudo chmod 0666 ${tun}   (its usual mode; what it can do needs CAP_NET_ADMIN anyway)`,
    )
  return fail(
    'tun',
    `${tun} does not open (${error}): the tun module is not loaded`,
    'sudo modprobe tun   (in a container: --device /dev/net/tun)',
  )
}

/** Why an unprivileged user cannot have namespaces, as far as the kernel tells. */
function whyNoUserNamespaces(machine: Machine): { readonly why: string; readonly fix: string } {
  const read = (path: string) => machine.readText(`/proc/sys/${path}`)
  if (read('kernel/unprivileged_userns_clone') === '0')
    return { why: 'kernel.unprivileged_userns_clone is 0', fix: 'sudo sysctl kernel.unprivileged_userns_clone=1' }
  if (read('user/max_user_namespaces') === '0')
    return { why: 'user.max_user_namespaces is 0', fix: 'sudo sysctl user.max_user_namespaces=10000' }
  if (read('kernel/apparmor_restrict_unprivileged_userns') === '1') {
    return { why: 'AppArmor restricts them', fix: 'sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0' }
  }
  return {
    why: "the kernel, or a container's seccomp profile, refuses them",
    fix: 'in a container: --security-opt seccomp=unconfined; elsewhere use sudo',
  }
}

async function canUnshare(machine: Machine): Promise<boolean> {
  const { exitCode } = await machine.run('unshare', ['--user', '--map-root-user', '--net', 'true'])
  return exitCode === 0
}

export const namespaceCheck: Check = async (machine) => {
  if (!machine.exists('/proc/self/ns/net')) {
    return fail('namespaces', 'this kernel has no network namespaces', 'use a kernel with CONFIG_NET_NS')
  }
  if (await canUnshare(machine)) return pass('namespaces', 'network namespaces without root: unshare -rn')
  const { why, fix } = whyNoUserNamespaces(machine)
  return warn('namespaces', `no network namespaces without root: ${why}`, fix)
}

export const permissionCheck: Check = async (machine) => {
  if (hasCapability(machine, Capability.NET_ADMIN))
    return pass('permission', 'CAP_NET_ADMIN: TAP interfaces can be made here')
  const what = 'no CAP_NET_ADMIN: no TAP interface can be made in this network namespace'
  if (await canUnshare(machine))
    return warn('permission', what, 'sudo netd run ..., or in a namespace of your own: unshare -rn netd run ...')
  return fail('permission', what, 'sudo netd run ...')
}
