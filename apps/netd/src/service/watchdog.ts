import type { NotifySocket } from '@virtio-ts/native'

/**
 * Milliseconds between two signs of life that the service manager wants, or undefined when it wants none of this process: half of what it
 * allows, as sd_watchdog_enabled(3) advises.
 */
export function watchdogInterval(
  env: Readonly<Record<string, string | undefined>> = process.env,
  pid: number = process.pid,
): number | undefined {
  const { WATCHDOG_USEC, WATCHDOG_PID } = env
  if (WATCHDOG_USEC === undefined || !/^\d{1,15}$/.test(WATCHDOG_USEC)) return undefined
  if (WATCHDOG_PID !== undefined && WATCHDOG_PID !== '' && Number(WATCHDOG_PID) !== pid) return undefined
  const interval = Math.floor(Number(WATCHDOG_USEC) / 2000)
  // What setInterval takes; 24 days.
  return interval > 0 ? Math.min(interval, 0x7fff_ffff) : undefined
}

/**
 * Gives a sign of life at every interval in which `ask` was answered. One that hangs is asked once, and a service manager that hears
 * nothing does what it was told to.
 * @param ask resolves while what it asks is alive
 * @returns stops it
 */
export function startWatchdog(
  notify: NotifySocket,
  interval: number | undefined,
  ask: () => Promise<unknown>,
): () => void {
  if (interval === undefined || !notify.present) return () => {}
  let asking = false
  let stopped = false
  const round = async (): Promise<void> => {
    if (asking) return
    asking = true
    try {
      await ask()
      if (!stopped) notify.send('WATCHDOG=1')
    } catch {
      // No sign of life, then.
    } finally {
      asking = false
    }
  }
  const timer = setInterval(() => void round(), interval)
  timer.unref()
  void round()
  return () => {
    stopped = true
    clearInterval(timer)
  }
}
