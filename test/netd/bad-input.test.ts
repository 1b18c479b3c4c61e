import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
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

  it('69: a locator for a later version', () => {
    expectAnswer(netd(['run', 'vfio:0000:00:04.0']), 69, /not available in this version/)
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
