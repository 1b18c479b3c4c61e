import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { requirement } from '../requirements.ts'

const program = fileURLToPath(new URL('../../apps/netd/bin/netd.js', import.meta.url))

interface Answer {
  readonly code: number | null
  readonly stderr: string
}

/** Runs netd in a network namespace of its own. */
function netd(args: readonly string[], around: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Answer {
  const { status, stderr } = spawnSync('unshare', ['--net', ...around, process.execPath, program, ...args], {
    encoding: 'utf8',
    timeout: 30_000,
    env: { ...process.env, ...env },
  })
  return { code: status, stderr }
}

/** What it says: what went wrong, and behind `fix:` what to do. */
function expectAnswer({ code, stderr }: Answer, exitCode: number, what: RegExp): void {
  expect(stderr).toMatch(what)
  expect(stderr).toMatch(/\n {2}fix: .+/)
  expect(code).toBe(exitCode)
}

requirement(
  'root',
  'tun',
  'netns',
  'qemu',
  'setpriv',
)('netd run answers what cannot work with a code and a sentence', () => {
  it('2: a locator nobody knows', () => {
    expectAnswer(netd(['run', 'usb:1']), 2, /unknown device locator scheme "usb"/)
  })

  it('69: a function of this machine that is not there', () => {
    // A domain that no machine has: a device of this one must not be taken.
    expectAnswer(netd(['run', 'vfio:fffe:00:04.0']), 69, /fffe:00:04\.0/)
    expectAnswer(netd(['run', 'sysfs:fffe:00:04.0']), 69, /fffe:00:04\.0/)
  })

  it('69: no QEMU', () => {
    expectAnswer(
      netd(['run', 'qemu:virtio-net-pci'], [], { VIRTIO_TS_QEMU: '/nonexistent/qemu' }),
      69,
      /\/nonexistent\/qemu/,
    )
  })

  it('69: QEMU refuses the device, in its own words', () => {
    expectAnswer(netd(['run', 'qemu:virtio-net-pci,colour=red']), 69, /colour/)
  })

  it('73: no /dev/net/tun', () => {
    const hidden = ['--mount', 'sh', '-c', 'mount -t tmpfs none /dev/net && exec "$@"', 'sh']
    expectAnswer(netd(['run', 'model:net'], hidden), 73, /\/dev\/net\/tun/)
  })

  it('77: no permission for a TAP', () => {
    // Root without the one capability: the checkout stays readable, wherever it is.
    const without = ['setpriv', '--bounding-set=-net_admin', '--inh-caps=-net_admin']
    expectAnswer(netd(['run', 'model:net'], without), 77, /permission|CAP_NET_ADMIN/i)
  })

  it.each([
    ['a BAR too small', 'bar-too-small', 69, /needs BAR 4 up to byte/],
    ['a queue of size 0', 'queue-size-0', 69, /has no queue 0 \(receiveq1\)/],
    ['features refused', 'features-refused', 69, /refused the features .*FEATURES_OK did not stand/],
    ['a capability list that loops', 'caps-loop', 69, /it loops/],
    ['no usable capabilities', 'caps-missing', 69, /modern/],
    ['a queue size that changes', 'queue-size-odd', 69, /queue 0 cannot be set up/],
    ['a device that is gone', 'gone', 69, /gone|no longer answers/],
  ])('a device with %s', (_, kind, exitCode, what) => {
    expectAnswer(netd(['run', `model:net,hostile=${kind}`, '--tap', 't0']), exitCode, what)
  })

  describe('a vhost-user socket', () => {
    let folder: string
    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), 'vts-bad-socket-'))
    })
    afterEach(() => rmSync(folder, { recursive: true }))

    /** Something listens at the path while `act` runs, in a process of its own: netd is waited for without an event loop. */
    async function listening(path: string, act: () => void): Promise<void> {
      const script = `require('node:net').createServer(() => {}).listen(${JSON.stringify(path)}, () => console.log('ready'))`
      const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
      await once(child.stdout, 'data')
      try {
        act()
      } finally {
        child.kill('SIGKILL')
      }
    }

    it('69: that is not there', () => {
      expectAnswer(
        netd(['run', `vhost-user:${folder}/none`]),
        69,
        /no vhost-user back-end answers at .*none\n {2}there is no such socket/,
      )
    })

    it('69: a plain file, and one left behind by a program that has ended', async () => {
      const file = join(folder, 'file')
      writeFileSync(file, '')
      expectAnswer(netd(['run', `vhost-user:${file}`]), 69, /not a socket that somebody listens on/)
      const left = join(folder, 'left')
      await listening(left, () => {})
      expectAnswer(netd(['run', `vhost-user:${left}`]), 69, /not a socket that somebody listens on/)
    })

    it('69: where nobody speaks vhost-user', async () => {
      const path = join(folder, 'silent')
      await listening(path, () => expectAnswer(netd(['run', `vhost-user:${path}`]), 69, /did not answer GET_FEATURES/))
    })

    it('69: to listen on, where somebody does already, or without a directory', async () => {
      const path = join(folder, 'used')
      await listening(path, () =>
        expectAnswer(netd(['run', `vhost-user:${path},server`]), 69, /a process listens there/),
      )
      expectAnswer(
        netd(['run', `vhost-user:${folder}/no/such,server`]),
        69,
        /cannot listen .*\n {2}there is no such directory/,
      )
    })

    it('77: that this user may not use', async () => {
      const path = join(folder, 'private')
      // Root without the capabilities that make it root, who owns neither folder nor socket.
      chmodSync(folder, 0o755)
      const asNobody = [
        'setpriv',
        '--reuid=65534',
        '--clear-groups',
        '--inh-caps=+net_admin',
        '--ambient-caps=+net_admin',
      ]
      await listening(path, () => {
        chmodSync(path, 0o600)
        expectAnswer(netd(['run', `vhost-user:${path}`], asNobody), 77, /this user may not use it/)
      })
    })

    it('2: with a path that no socket can have', () => {
      expectAnswer(netd(['run', `vhost-user:/${'x'.repeat(107)}`]), 2, /at most 107 bytes/)
      expectAnswer(netd(['run', 'vhost-user:']), 2, /needs the path of a socket/)
      expectAnswer(netd(['bridge', 'vhost-user:/a', 'vhost-user:/a']), 2, /cannot be bridged with itself/)
    })
  })

  it('nothing is left behind by a start that failed', () => {
    const script = `"$@"; ip -o link show | grep -c -v ' lo:'`
    const { status, stdout } = spawnSync(
      'unshare',
      [
        '--net',
        'sh',
        '-c',
        script,
        'sh',
        process.execPath,
        program,
        'run',
        'model:net,hostile=queue-size-0',
        '--tap',
        't0',
      ],
      { encoding: 'utf8', timeout: 30_000 },
    )
    // The last command counts interfaces besides loopback: none, so grep fails.
    expect(status).toBe(1)
    expect(stdout.trim()).toBe('0')
  })
})
