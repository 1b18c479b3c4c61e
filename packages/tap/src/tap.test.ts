import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { close, Errno, enterNewNetworkNamespace, ioctl, openFdCount } from '@virtio-ts/native'
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { mayMakeTaps } from '../test/may-make-taps.ts'
import { TunRequest } from './if-tun.ts'
import { Tap, type TapOptions } from './tap.ts'
import { attachTap } from './tap-attach.ts'
import { requirement } from '../../../test/requirements.ts'

interface Link {
  readonly ifname: string
  readonly ifindex: number
  readonly flags: readonly string[]
  readonly mtu: number
  readonly address: string
  readonly txqlen: number
}

function ip(...command: string[]): string {
  return execFileSync('ip', command, { encoding: 'utf8' })
}

/** What iproute2 says about an interface; undefined when there is none. */
function link(name: string): Link | undefined {
  const all = JSON.parse(ip('-json', 'link', 'show')) as Link[]
  return all.find(({ ifname }) => ifname === name)
}

/** The worker of this file leaves the machine's network for good: each test file has a process of its own. */
requirement(() => (mayMakeTaps() ? undefined : 'may not make TAP interfaces'))('Tap', () => {
  const opened: Tap[] = []
  let before: number

  function open(options?: TapOptions): Tap {
    const tap = Tap.open(options)
    opened.push(tap)
    return tap
  }

  beforeAll(() => enterNewNetworkNamespace())
  beforeEach(() => {
    before = openFdCount()
  })
  afterEach(() => {
    for (const tap of opened.splice(0)) tap.close()
    assert.equal(openFdCount(), before, 'descriptors left open')
    assert.deepEqual(
      (JSON.parse(ip('-json', 'link', 'show')) as Link[]).map(({ ifname }) => ifname),
      ['lo'],
      'interfaces left behind',
    )
  })

  describe('open', () => {
    it('makes an interface, down, with a header of 12 bytes, that goes with it', () => {
      const tap = open()
      expect(tap).toMatchObject({ name: 'tap0', headerLength: 12, up: false, mtu: 1500, gone: false })
      expect(tap.queues).toHaveLength(1)
      expect(link('tap0')).toMatchObject({ ifindex: tap.index, mtu: 1500 })
      expect(link('tap0')?.flags).not.toContain('UP')
      tap.verifyHeader()
      tap.close()
      expect(link('tap0')).toBeUndefined()
    })

    it('gives it the name asked for, or the first free number', () => {
      expect(open({ name: 'fifteen_bytes_x' }).name).toBe('fifteen_bytes_x')
      expect(open({ name: 'vt%d' }).name).toBe('vt0')
      expect(open({ name: 'vt%d' }).name).toBe('vt1')
      expect(() => open({ name: 'sixteen_bytes_xx' })).toThrow(expect.objectContaining({ code: 'tap.name-invalid' }))
    })

    it('can do without the header', () => {
      const tap = open({ vnetHeader: false })
      expect(tap.headerLength).toBe(0)
      tap.verifyHeader()
    })

    it('says who has an interface that is in use', () => {
      open({ name: 'taken' })
      expect(() => open({ name: 'taken' })).toThrow(
        expect.objectContaining({
          code: 'tap.busy',
          message: 'taken is in use: this process has it open. End that, or choose another name.',
        }),
      )
      open({ name: 'several', queues: 2 })
      expect(() => open({ name: 'several', queues: 2 })).toThrow(expect.objectContaining({ code: 'tap.busy' }))
    })

    it('says which other process that is', async () => {
      const tap = open({ name: 'taken' })
      // A child that inherits the descriptor keeps the interface attached after we let it go.
      const script = `exec 9<&3 3<&-; echo; read line`
      const { spawn } = await import('node:child_process')
      const child = spawn('sh', ['-c', script], { stdio: ['pipe', 'pipe', 'ignore', tap.queues[0]?.fd] })
      try {
        await new Promise((resolve) => child.stdout?.once('data', resolve))
        tap.close()
        expect(() => open({ name: 'taken' })).toThrow(
          expect.objectContaining({
            code: 'tap.busy',
            message: expect.stringContaining(`process ${child.pid} (sh) has it open`),
          }),
        )
      } finally {
        child.stdin?.end()
        await new Promise((resolve) => child.once('close', resolve))
      }
    })

    it('says that an interface is another kind, or has another number of queues', () => {
      expect(() => open({ name: 'lo' })).toThrow(
        expect.objectContaining({
          code: 'tap.mismatch',
          message: expect.stringMatching(/^lo exists .* not a TAP.*ip link del lo/),
        }),
      )
      open({ name: 'single' })
      expect(() => open({ name: 'single', queues: 2 })).toThrow(expect.objectContaining({ code: 'tap.busy' }))
      ip('tuntap', 'add', 'dev', 'many', 'mode', 'tap', 'multi_queue')
      expect(() => open({ name: 'many' })).toThrow(
        expect.objectContaining({ code: 'tap.mismatch', message: expect.stringContaining('with multi_queue') }),
      )
      ip('link', 'del', 'many')
      ip('tuntap', 'add', 'dev', 'one', 'mode', 'tap')
      expect(() => open({ name: 'one', queues: 2 })).toThrow(
        expect.objectContaining({ code: 'tap.mismatch', message: expect.stringContaining('without multi_queue') }),
      )
      ip('link', 'del', 'one')
    })

    it('refuses a number of queues that is none', () => {
      for (const queues of [0, -1, 1.5, 257, Number.NaN]) expect(() => open({ queues })).toThrow(RangeError)
    })

    it('leaves nothing behind in 50 rounds', () => {
      for (let i = 0; i < 50; i++) Tap.open({ name: 'again', queues: 1 + (i % 3) }).close()
      expect(openFdCount()).toBe(before)
    })
  })

  describe('open, where it may not', () => {
    let folder: string
    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), 'tap-'))
    })
    afterEach(() => rmSync(folder, { recursive: true }))

    it('says how to get the device node when there is none', () => {
      for (const path of [join(folder, 'tun'), '/dev/null/tun']) {
        expect(() => open({ path })).toThrow(
          expect.objectContaining({
            code: 'tap.no-device-node',
            message: expect.stringMatching(new RegExp(`^${path} does not exist\\..*modprobe tun.*mknod`)),
          }),
        )
      }
    })

    it('says that another file is not the device', () => {
      expect(() => open({ path: '/dev/null' })).toThrow(
        expect.objectContaining({
          code: 'tap.no-device-node',
          message: expect.stringContaining('/dev/null is not the TUN/TAP'),
        }),
      )
      expect(() => open({ path: folder })).toThrow(expect.objectContaining({ code: 'tap.failed' }))
    })

    requirement(() => (mayBecomeNobody() ? undefined : 'may not become another user'))('as nobody', () => {
      it('says what a user needs', () => {
        asNobody(() => {
          expect(() => open({ path: '/proc/1/mem' })).toThrow(
            expect.objectContaining({
              code: 'tap.permission',
              message: expect.stringContaining('may not open /proc/1/mem: give this user access'),
              cause: expect.objectContaining({ code: 'EACCES' }),
            }),
          )
        })
      })
    })

    requirement(() =>
      mayBecomeNobody() && mayMakeNodes() ? undefined : 'may not become another user or make device nodes',
    )('as nobody, with a device node', () => {
      it('says that opening the device is not enough', () => {
        const path = join(folder, 'tun')
        execFileSync('mknod', ['-m', '666', path, 'c', '10', '200'])
        execFileSync('chmod', ['755', folder])
        asNobody(() => {
          expect(() => open({ path, name: 'mine' })).toThrow(
            expect.objectContaining({
              code: 'tap.permission',
              message: expect.stringMatching(/^may not make or use mine: .*CAP_NET_ADMIN.*ip tuntap add/),
              cause: expect.objectContaining({ code: 'EPERM' }),
            }),
          )
        })
      })
    })

    requirement(() => (mayBecomeNobody() ? undefined : 'may not become another user'))(
      'as nobody, with an open interface',
      () => {
        it('says what a user may not do with an interface that is open', () => {
          const tap = open()
          asNobody(() => {
            expect(tap.mtu).toBe(1500)
            expect(() => tap.setMtu(1400)).toThrow(
              expect.objectContaining({
                code: 'tap.permission',
                message: expect.stringContaining('may not set the MTU of tap0'),
              }),
            )
            expect(() => tap.setUp(true)).toThrow(expect.objectContaining({ code: 'tap.permission' }))
          })
        })
      },
    )
  })

  describe('settings', () => {
    it('are what the system shows', () => {
      const tap = open()
      tap.setMac(Uint8Array.of(0x02, 0, 0, 0xab, 0xcd, 0xef))
      tap.setMtu(9000)
      tap.setUp(true)
      expect(link('tap0')).toMatchObject({ address: '02:00:00:ab:cd:ef', mtu: 9000 })
      expect(link('tap0')?.flags).toContain('UP')
      expect(tap).toMatchObject({
        mac: Uint8Array.of(0x02, 0, 0, 0xab, 0xcd, 0xef),
        mtu: 9000,
        up: true,
        carrier: true,
      })
      ip('link', 'set', 'tap0', 'mtu', '1280', 'down')
      expect(tap).toMatchObject({ mtu: 1280, up: false, carrier: false })
      tap.setUp(true)
      tap.setUp(false)
      expect(link('tap0')?.flags).not.toContain('UP')
    })

    it('are refused where they make no sense', () => {
      const tap = open()
      for (const mtu of [0, 67, 65522, -1]) {
        expect(() => tap.setMtu(mtu)).toThrow(
          expect.objectContaining({ code: 'tap.value-invalid', message: expect.stringContaining('68 to 65521') }),
        )
      }
      tap.setMtu(68)
      tap.setMtu(65521)
      const mac = tap.mac
      for (const wrong of [[0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 1], [255, 255, 255, 255, 255, 255], [2, 0, 0], []]) {
        expect(() => tap.setMac(Uint8Array.from(wrong))).toThrow(expect.objectContaining({ code: 'tap.value-invalid' }))
      }
      expect(tap.mac).toEqual(mac)
    })

    it('include the length of the queue', () => {
      const tap = open()
      ip('link', 'set', 'tap0', 'txqueuelen', '300')
      expect(tap.queueLength).toBe(300)
    })

    if (isRootOfTheMachine())
      it('include the length of the queue, for root', () => {
        const tap = open()
        tap.setQueueLength(500)
        expect(link('tap0')).toMatchObject({ txqlen: 500 })
        expect(() => tap.setQueueLength(-1)).toThrow(expect.objectContaining({ code: 'tap.value-invalid' }))
      })

    if (!isRootOfTheMachine())
      it('say how root of a user namespace can set the length of the queue', () => {
        const tap = open()
        expect(() => tap.setQueueLength(500)).toThrow(
          expect.objectContaining({ code: 'tap.permission', message: expect.stringContaining('txqueuelen 500') }),
        )
      })

    it('tell the kernel whether there is a link', async () => {
      const tap = open()
      tap.setUp(true)
      expect(link('tap0')?.flags).toContain('LOWER_UP')
      tap.setCarrier(false)
      expect(link('tap0')?.flags).not.toContain('LOWER_UP')
      expect(tap.carrier).toBe(false)
      await vi.waitFor(() => expect(link('tap0')?.flags).toContain('NO-CARRIER'))
      tap.setCarrier(true)
      expect(link('tap0')?.flags).toContain('LOWER_UP')
      expect(tap.carrier).toBe(true)
      await vi.waitFor(() => expect(link('tap0')?.flags).not.toContain('NO-CARRIER'))
    })

    it('find the interface under its new name', () => {
      const tap = open({ name: 'old' })
      ip('link', 'set', 'old', 'name', 'new')
      // Whoever has the old name now is not to be touched.
      const other = open({ name: 'old' })
      tap.setMtu(1300)
      expect(tap.name).toBe('new')
      expect([link('new')?.mtu, link('old')?.mtu, other.mtu]).toEqual([1300, 1500, 1500])
    })
  })

  describe('setOffloads', () => {
    const features = (name: string): Record<string, string> =>
      Object.fromEntries(
        execFileSync('ethtool', ['-k', name], { encoding: 'utf8' })
          .split('\n')
          .map((line) => /^\s*([\w-]+): (on|off)/.exec(line)?.slice(1) as [string, string])
          .filter((entry) => entry !== undefined),
      )

    it('switches what the kernel leaves undone', () => {
      const tap = open()
      expect(features('tap0')).toMatchObject({ 'tx-checksumming': 'off', 'tcp-segmentation-offload': 'off' })
      tap.setOffloads({ checksum: true })
      expect(features('tap0')).toMatchObject({ 'tx-checksumming': 'on', 'tcp-segmentation-offload': 'off' })
      tap.setOffloads({ checksum: true, tso4: true })
      expect(features('tap0')).toMatchObject({ 'tx-tcp-segmentation': 'on', 'tx-tcp6-segmentation': 'off' })
      tap.setOffloads({ checksum: true, tso6: true })
      expect(features('tap0')).toMatchObject({ 'tx-tcp-segmentation': 'off', 'tx-tcp6-segmentation': 'on' })
      tap.setOffloads({ checksum: true, tso4: true, ecn: true })
      expect(features('tap0')).toMatchObject({ 'tx-tcp-ecn-segmentation': 'on' })
      tap.setOffloads({})
      expect(features('tap0')).toMatchObject({ 'tx-checksumming': 'off', 'tcp-segmentation-offload': 'off' })
    })

    it('takes every set that makes sense', () => {
      const tap = open()
      for (let set = 0; set < 16; set++) {
        const tso4 = (set & 1) !== 0
        const tso6 = (set & 2) !== 0
        const ecn = (set & 4) !== 0 && (tso4 || tso6)
        tap.setOffloads({ checksum: true, tso4, tso6, ecn, ufo: (set & 8) !== 0 })
      }
      expect(() => tap.setOffloads({ tso4: true })).toThrow(expect.objectContaining({ code: 'tap.offload-invalid' }))
    })

    it('has UDP segmentation where the kernel has it', () => {
      const tap = open()
      const [major = 0, minor = 0] = execFileSync('uname', ['-r'], { encoding: 'utf8' }).split('.').map(Number)
      const set = (): void => tap.setOffloads({ checksum: true, uso: true })
      if (major > 6 || (major === 6 && minor >= 2)) set()
      else assert.throws(set, { code: 'tap.offload-unsupported' })
      expect(features('tap0')['tx-checksumming']).toBe(major > 6 || (major === 6 && minor >= 2) ? 'on' : 'off')
    })

    it('says that the kernel does not have it', () => {
      // The kernel has no bit 12: what an older kernel says to a newer offload.
      const tap = open()
      expect(() => ioctl(tap.queues[0]?.fd ?? -1, TunRequest.SETOFFLOAD, 0x1001)).toThrow(
        expect.objectContaining({ code: 'EINVAL' }),
      )
    })

    it('begins with none on an interface that somebody else had', () => {
      const first = open({ name: 'stays', persist: true })
      first.setOffloads({ checksum: true, tso4: true })
      first.close()
      const second = open({ name: 'stays', persist: false })
      expect(features('stays')).toMatchObject({ 'tx-checksumming': 'off', 'tcp-segmentation-offload': 'off' })
      second.close()
    })
  })

  describe('persistence', () => {
    it('is what was asked for', () => {
      open({ name: 'stays', persist: true }).close()
      expect(link('stays')).toBeDefined()
      // Left out: as it was.
      open({ name: 'stays' }).close()
      expect(link('stays')).toBeDefined()
      const tap = open({ name: 'stays', persist: false })
      tap.setPersist(true)
      tap.setPersist(false)
      tap.close()
      expect(link('stays')).toBeUndefined()
    })
  })

  describe('verifyHeader', () => {
    it('finds a header length that somebody else has set', () => {
      const tap = open({ name: 'shared', queues: 2 })
      const other = attachTap({ path: '/dev/net/tun', name: 'shared', vnetHeader: true, multiQueue: true })
      ioctl(other, TunRequest.SETVNETHDRSZ, Uint8Array.of(10, 0, 0, 0))
      close(other)
      expect(() => tap.verifyHeader()).toThrow(
        expect.objectContaining({
          code: 'tap.header-mismatch',
          message: expect.stringMatching(/header of 10 bytes, little-endian.*here it is 12 bytes/),
        }),
      )
    })

    it('sets on opening what the last user has left', () => {
      const first = open({ name: 'stays', persist: true })
      ioctl(first.queues[0]?.fd ?? -1, TunRequest.SETVNETHDRSZ, Uint8Array.of(10, 0, 0, 0))
      first.close()
      const second = open({ name: 'stays', persist: false })
      expect(() => second.verifyHeader()).not.toThrow()
    })
  })

  describe('close', () => {
    it('stops what watches it', async () => {
      const tap = open()
      tap.setUp(true)
      let calls = 0
      tap.onReadable(() => (calls += 1))
      tap.onChange(() => (calls += 1))
      tap.onGone(() => (calls += 1))
      tap.close()
      await sleep(20)
      expect(calls).toBe(0)
      expect(openFdCount()).toBe(before)
    })

    it('can be called twice, and ends everything else', () => {
      const tap = open()
      const [queue] = tap.queues
      const stop = tap.onReadable(() => {})
      tap.close()
      tap.close()
      stop()
      expect(queue?.fd).toBe(-1)
      expect(tap.read(new Uint8Array(64))).toBe(-Errno.EBADF)
      expect(tap.write(new Uint8Array(64))).toBe(-Errno.EBADF)
      for (const use of [
        () => tap.name,
        () => tap.mtu,
        () => tap.setUp(true),
        () => tap.setCarrier(true),
        () => tap.setOffloads({}),
        () => tap.onReadable(() => {}),
      ]) {
        expect(use).toThrow(expect.objectContaining({ code: 'tap.closed', message: expect.stringContaining('tap0') }))
      }
    })
  })

  it('ends with its process, whoever listens', () => {
    // Only a watch for frames keeps a process alive.
    const script = `
      import { Tap } from '@virtio-ts/tap'
      const tap = Tap.open({ name: 'child' })
      tap.onGone(() => {})
      tap.onChange(() => {})
      process.on('exit', () => process.stdout.write(tap.name))`
    const hooks = new URL('../../native/test/register-source.mjs', import.meta.url)
    const child = spawnSync(
      process.execPath,
      ['--conditions=@virtio-ts/source', `--import=${hooks.href}`, '--input-type=module', '--eval', script],
      { encoding: 'utf8', cwd: import.meta.dirname, timeout: 20_000 },
    )
    expect(child).toMatchObject({ status: 0, stdout: 'child', stderr: '' })
    expect(link('child')).toBeUndefined()
  })

  describe('onChange', () => {
    it('reports what others change, and nothing when nothing has changed', async () => {
      const tap = open()
      const seen: unknown[] = []
      tap.onChange(({ name, mtu, up }) => seen.push({ name, mtu, up }))
      ip('link', 'set', 'tap0', 'mtu', '1400')
      await vi.waitFor(() => expect(seen).toEqual([{ name: 'tap0', mtu: 1400, up: false }]))
      ip('link', 'set', 'tap0', 'up')
      await vi.waitFor(() => expect(seen.at(-1)).toEqual({ name: 'tap0', mtu: 1400, up: true }))
      const count = seen.length
      ip('link', 'set', 'lo', 'mtu', '60000')
      await sleep(20)
      ip('link', 'set', 'tap0', 'name', 'renamed')
      await vi.waitFor(() => expect(seen.at(-1)).toEqual({ name: 'renamed', mtu: 1400, up: true }))
      expect(seen).toHaveLength(count + 1)
    })

    it('stops when it is told to', async () => {
      const tap = open()
      const seen: string[] = []
      const off = tap.onChange(() => seen.push('one'))
      tap.onChange(() => seen.push('two'))
      off()
      ip('link', 'set', 'tap0', 'mtu', '1400')
      await vi.waitFor(() => expect(seen).toEqual(['two']))
    })
  })
})

/** For a user without root: the same tests, in a user namespace where one is root. */
if (!mayMakeTaps())
  requirement(() => (mayMakeTaps('in a user namespace') ? undefined : 'no user namespace'))(
    'Tap in a user namespace',
    () => {
      it('passes all of its tests', { timeout: 120_000 }, () => {
        const command = [process.execPath, vitest(), 'run', '--configLoader', 'runner', 'packages/tap']
        const run = spawnSync('unshare', ['--user', '--map-root-user', '--net', ...command], {
          encoding: 'utf8',
          cwd: join(import.meta.dirname, '../../..'),
          env: { PATH: process.env['PATH'] },
        })
        expect({ status: run.status, output: run.stdout + run.stderr }).toMatchObject({ status: 0 })
      })
    },
  )

function vitest(): string {
  return join(import.meta.dirname, '../../../node_modules/vitest/vitest.mjs')
}

/** Without root's rights, which come back: the kernel asks for those of the moment. */
function asNobody(act: () => void): void {
  process.seteuid?.(65534)
  try {
    act()
  } finally {
    process.seteuid?.(0)
  }
}

function isRootOfTheMachine(): boolean {
  return process.geteuid?.() === 0 && /^\s*0\s+0\s+4294967295$/m.test(readFileSync('/proc/self/uid_map', 'utf8'))
}

function mayBecomeNobody(): boolean {
  try {
    asNobody(() => {})
    return true
  } catch {
    return false
  }
}

function mayMakeNodes(): boolean {
  const folder = mkdtempSync(join(tmpdir(), 'tap-'))
  const made = spawnSync('mknod', [join(folder, 'null'), 'c', '1', '3']).status === 0
  rmSync(folder, { recursive: true })
  return made
}
