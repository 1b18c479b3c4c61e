import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/**
 * Which process has a TAP open, for an error message: `process 1234 (qemu-system-x86)`. Looks at the processes that we may
 * look at and that are in our network namespace.
 */
export function holderOf(name: string): string | undefined {
  const namespace = attempt(() => readlinkSync('/proc/thread-self/ns/net'))
  for (const pid of attempt(() => readdirSync('/proc')) ?? []) {
    if (!/^\d+$/.test(pid) || !holds(pid, name)) continue
    if (pid === String(process.pid)) return 'this process'
    if (attempt(() => readlinkSync(`/proc/${pid}/ns/net`)) !== namespace) continue
    const command = attempt(() => readFileSync(`/proc/${pid}/comm`, 'utf8').trim()) ?? '?'
    return `process ${pid} (${command})`
  }
  return undefined
}

function holds(pid: string, name: string): boolean {
  return (attempt(() => readdirSync(`/proc/${pid}/fd`)) ?? []).some((fd) => {
    if (attempt(() => readlinkSync(`/proc/${pid}/fd/${fd}`))?.endsWith('/net/tun') !== true) return false
    // The TUN driver puts a line `iff:` with the interface's name there.
    const info = attempt(() => readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8')) ?? ''
    return info.split('\n').includes(`iff:\t${name}`)
  })
}

/** Processes end and descriptors close while one looks, and others may not be looked at. */
function attempt<T>(look: () => T): T | undefined {
  try {
    return look()
  } catch {
    return undefined
  }
}
