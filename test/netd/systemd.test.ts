import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ExitCode } from '@virtio-ts/command-line'
import { AddressFamily, bindSocket, close, read, SocketType, socket, watchReadable } from '@virtio-ts/native'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { requirement } from '../requirements.ts'
import { NetworkNamespace } from '../support/network-namespace.ts'
import { RunningNetd } from '../support/running-netd.ts'

const program = fileURLToPath(new URL('../../apps/netd/bin/netd.js', import.meta.url))
const unit = fileURLToPath(new URL('../../apps/netd/systemd/netd@.service', import.meta.url))

function setting(name: string): string {
  const found = [...readFileSync(unit, 'utf8').matchAll(new RegExp(`^${name}=(.*)$`, 'gm'))]
  expect(found).toHaveLength(1)
  return found[0]?.[1] ?? ''
}

requirement('systemd-analyze')('netd@.service', () => {
  it('is a unit that systemd has nothing to say against', () => {
    const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', unit], { encoding: 'utf8' })
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '', stderr: '' })
  })
})

describe('netd@.service', () => {
  it('is not started again by an exit code that another start would not change', () => {
    expect(setting('RestartPreventExitStatus').split(' ').map(Number)).toEqual([
      ExitCode.USAGE,
      ExitCode.CANNOT_CREATE_TAP,
      ExitCode.PERMISSION,
      ExitCode.NEEDS_FORCE,
    ])
  })
})

/** What a service manager hears. */
class Manager {
  readonly path: string
  readonly messages: string[] = []
  readonly folder: string = mkdtempSync(join(tmpdir(), 'vts-notify-'))
  readonly #fd: number = socket(AddressFamily.UNIX, SocketType.DATAGRAM)
  readonly #unwatch: () => void
  #wakeUp: () => void = () => {}

  constructor() {
    this.path = join(this.folder, 'notify')
    bindSocket(this.#fd, Uint8Array.from([AddressFamily.UNIX, 0, ...new TextEncoder().encode(`${this.path}\0`)]))
    const bytes = new Uint8Array(4096)
    this.#unwatch = watchReadable(this.#fd, () => {
      for (let length = read(this.#fd, bytes); length > 0; length = read(this.#fd, bytes))
        this.messages.push(new TextDecoder().decode(bytes.subarray(0, length)))
      this.#wakeUp()
    })
  }

  /** Waits until `condition` holds for what was heard. */
  async until(condition: () => boolean, what: string): Promise<void> {
    const deadline = AbortSignal.timeout(20_000)
    while (!condition()) {
      if (deadline.aborted) throw new Error(`never heard ${what}: ${JSON.stringify(this.messages)}`)
      await new Promise<void>((resolve) => {
        this.#wakeUp = resolve
        setTimeout(resolve, 100)
      })
    }
  }

  count(message: string): number {
    return this.messages.filter((each) => each === message).length
  }

  close(): void {
    this.#unwatch()
    close(this.#fd)
    rmSync(this.folder, { recursive: true })
  }
}

requirement(
  'root',
  'tun',
  'netns',
  'ip',
)('netd run under a service manager', () => {
  let namespace: NetworkNamespace
  let manager: Manager

  beforeEach(() => {
    namespace = NetworkNamespace.create()
    manager = new Manager()
  })

  afterEach(() => {
    namespace.close()
    manager.close()
  })

  it('is ready when the interface is up, lives, and stops', async () => {
    const netd = new RunningNetd(namespace, ['model:net', '--tap', 't0'], {
      NOTIFY_SOCKET: manager.path,
      WATCHDOG_USEC: '400000',
    })
    await manager.until(() => manager.messages.some((each) => each.startsWith('READY=1\n')), 'READY')
    // Not a moment before: what is ordered behind it may use the interface.
    expect(namespace.run('ip', '-br', 'link', 'show', 't0')).toContain('UP')
    expect(manager.messages[0]).toMatch(/^READY=1\nSTATUS=model:net is now t0 /)
    await manager.until(() => manager.count('WATCHDOG=1') >= 3, 'WATCHDOG')
    expect(await netd.stop()).toBe(0)
    await manager.until(() => manager.messages.at(-1)?.startsWith('STATUS=t0: stopped') === true, 'the end')
    expect(manager.count('STOPPING=1\nSTATUS=stopping')).toBe(1)
  })

  it('gives no sign of life when the thread that moves frames does not answer', async () => {
    const stall = join(manager.folder, 'stall')
    const hook = new URL('./stalling-thread.fixture.mjs', import.meta.url).href
    new RunningNetd(namespace, ['model:net', '--tap', 't0'], {
      NOTIFY_SOCKET: manager.path,
      WATCHDOG_USEC: '400000',
      NODE_OPTIONS: `--import ${hook}`,
      STALL_FILE: stall,
    })
    await manager.until(() => manager.count('WATCHDOG=1') >= 2, 'WATCHDOG')
    writeFileSync(stall, '')
    // The main thread answers for the other one: it has waited 3 s for it, fifteen intervals.
    const show = (): Promise<string> =>
      namespace.runAsync(
        'env',
        `NETD_RUNTIME_DIR=${namespace.runtimeDirectory}`,
        process.execPath,
        program,
        'show',
        't0',
      )
    await expect(show()).rejects.toThrow('has not answered')
    const { length } = manager.messages
    await expect(show()).rejects.toThrow('has not answered')
    expect(manager.messages).toHaveLength(length)
  })

  it('waits for a back-end before it is ready, and says so', async () => {
    const path = join(tmpdir(), `${namespace.name}.sock`)
    const netd = new RunningNetd(namespace, [`vhost-user:${path},server`, '--tap', 't0'], {
      NOTIFY_SOCKET: manager.path,
    })
    await manager.until(() => manager.messages.length > 0, 'a status')
    expect(manager.messages).toEqual([`STATUS=waiting for a vhost-user back-end to connect to ${path}`])
    expect(await netd.stop()).toBe(0)
  })
})
