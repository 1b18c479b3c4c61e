import { execFile } from 'node:child_process'
import { accessSync, constants, existsSync, readdirSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { codeOf } from '@virtio-ts/command-line'
import { close, lockFile, truncate, write } from '@virtio-ts/native'
import { freeKeptMemory } from '@virtio-ts/pci/sysfs'
import { type SysfsFiles, sysfsFiles } from '@virtio-ts/pci/binding'
import { readText } from '../devices/read-text.ts'
import { type SystemRoots, systemRoots } from '../devices/scan-devices.ts'
import { type IpCommand, ipCommand } from './ip-command.ts'
import { Journal } from './journal.ts'

/** A process that has a file of a device open. */
export interface DeviceUser {
  readonly pid: number
  /** Its command line's first word, as the kernel shows it. */
  readonly program: string
  readonly path: string
}

/** The machine on which devices are taken over; tests bring their own. */
export interface TakeoverHost {
  readonly roots: SystemRoots
  readonly sysfs: SysfsFiles
  readonly ip: IpCommand
  readonly journal: Journal
  /** Milliseconds since 1970. */
  now(): number
  /** How long the kernel and udev may take for each step, in milliseconds. */
  readonly timeout: number
  /** How long the kernel may take to remove a function that was unplugged, in milliseconds. */
  readonly removalTime: number
  /** Why the attribute may not be written (`EACCES`), or undefined when it may. */
  whyNotWritable(path: string): string | undefined
  /** Loads a kernel module where that is possible; that it was not shows when its driver is missing. */
  loadModule(name: string): Promise<void>
  /** Frees what a killed netd has left for its device to write to. */
  freeMemory(address: string): void
  /** Waits until udev has done with new interfaces, where there is udev. */
  settle(): Promise<void>
  /** Processes that have one of these paths open, of those we may look into. */
  usersOf(paths: readonly string[]): readonly DeviceUser[]
  /**
   * Takes the lock on a function. The kernel lets it go when this process ends, however that happens.
   * @param purpose what the holder is, for others to read
   * @returns gives it back, or the pid and purpose of who has it
   */
  lock(address: string, purpose: string): (() => void) | string
}

const programLimit = 10_000

function runQuietly(program: string, args: readonly string[]): Promise<void> {
  return new Promise((resolve) => {
    execFile(program, [...args], { timeout: programLimit, killSignal: 'SIGKILL' }, () => resolve())
  })
}

/** The machine this process runs on. */
export function thisHost(): TakeoverHost {
  const roots = systemRoots
  const journal = new Journal()
  return {
    roots,
    sysfs: sysfsFiles(roots.sys),
    ip: ipCommand,
    journal,
    now: Date.now,
    timeout: 5000,
    removalTime: 2000,
    whyNotWritable(path) {
      try {
        accessSync(join(roots.sys, path), constants.W_OK)
        return undefined
      } catch (error) {
        return codeOf(error) ?? 'unknown error'
      }
    },
    loadModule: (name) => runQuietly('modprobe', ['--quiet', name]),
    freeMemory: freeKeptMemory,
    settle: () =>
      existsSync('/run/udev/control') ? runQuietly('udevadm', ['settle', '--timeout=5']) : Promise.resolve(),
    usersOf: (paths) => usersOf(paths, roots.proc),
    lock: (address, purpose) => lock(join(journal.directory, `${address}.lock`), purpose),
  }
}

/** @param proc where procfs is */
export function usersOf(paths: readonly string[], proc: string): readonly DeviceUser[] {
  const users: DeviceUser[] = []
  for (const pid of names(proc).filter((name) => /^\d+$/.test(name))) {
    const open = names(`${proc}/${pid}/fd`).flatMap((fd) => target(`${proc}/${pid}/fd/${fd}`) ?? [])
    const path = open.find((each) => paths.includes(each))
    if (path !== undefined)
      users.push({ pid: Number(pid), program: readText(`${proc}/${pid}/comm`) ?? 'unknown', path })
  }
  return users
}

function names(path: string): readonly string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}

function target(path: string): string | undefined {
  try {
    return readlinkSync(path)
  } catch {
    return undefined
  }
}

/** What the lock's file says of who has it is for people; only the lock itself counts. */
export function lock(path: string, purpose: string): (() => void) | string {
  const fd = lockFile(path)
  if (fd === undefined) return (readText(path) ?? '').slice(0, 200).split('\n')[0] || 'another process'
  truncate(fd, 0)
  write(fd, new TextEncoder().encode(`pid ${process.pid}: ${purpose}\n`))
  return () => {
    truncate(fd, 0)
    close(fd)
  }
}
