import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { spawn } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bootGuest, type Guest, GuestError, type GuestProcess } from '../../scripts/guest/linux-guest.mjs'
import { requirement } from '../requirements.ts'

const folder = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
const verdict = folder('verdict')
const nic = ['-netdev', 'user,id=n0,restrict=on', '-device', 'virtio-net-pci,netdev=n0,romfile=,addr=0x4']

requirement('guest')('a Linux guest', () => {
  describe('that runs', () => {
    let guest: Guest
    beforeAll(async () => {
      // The first boot may have to make the image.
      guest = await bootGuest({ qemuArguments: nic, files: [{ from: verdict, to: '/tmp-files' }], hugepages: 4 })
    }, 180_000)
    afterAll(() => guest.kill())

    it('runs commands: output, exit code, signal, stdin, environment, directory', async () => {
      expect(await guest.run(['uname', '-s'])).toEqual({ code: 0, signal: null, stdout: 'Linux\n', stderr: '' })
      expect(await guest.run(['sh', '-c', 'echo out; echo no >&2; exit 7'])).toEqual({
        code: 7,
        signal: null,
        stdout: 'out\n',
        stderr: 'no\n',
      })
      expect(await guest.run(['sh', '-c', 'kill -TERM $$'])).toMatchObject({ code: null, signal: 'SIGTERM' })
      expect((await guest.run(['cat'], { input: 'from this machine' })).stdout).toBe('from this machine')
      const there = await guest.run(['sh', '-c', 'echo $WORD; pwd'], { environment: { WORD: 'w' }, directory: '/tmp' })
      expect(there.stdout).toBe('w\n/tmp\n')
      await expect(guest.run(['no-such-program'])).rejects.toMatchObject({ code: 'guest.command' })
    })

    it('runs several at once, and a lot of output of one does not hold up another', async () => {
      const [many, ...few] = await Promise.all([
        guest.run(['sh', '-c', 'dd if=/dev/zero bs=64k count=128 2>/dev/null | tr "\\0" x']),
        ...[1, 2, 3].map((n) => guest.run(['echo', String(n)])),
      ])
      expect(many.stdout.length).toBe(128 * 65_536)
      expect(few.map(({ stdout }) => stdout)).toEqual(['1\n', '2\n', '3\n'])
    })

    it('has the kernel’s driver on its device, modules to load, huge pages and the tools', async () => {
      expect((await guest.run(['modprobe', '-a', 'virtio_net', 'vfio_pci', 'tun', 'e1000', 'ext4'])).code).toBe(0)
      const driver = await guest.run(['readlink', '/sys/bus/pci/devices/0000:00:04.0/driver'])
      expect(driver.stdout).toMatch(/\/virtio-pci\n$/)
      expect((await guest.run(['ip', '-br', 'link', 'show', 'eth0'])).stdout).toContain('52:54:00:12:34:56')
      expect(
        (await guest.run(['sh', '-c', 'mount | grep hugetlbfs; grep HugePages_Total /proc/meminfo'])).stdout,
      ).toMatch(/\/dev\/hugepages.*\nHugePages_Total: +4\n/)
      const tools = ['iperf3', 'ethtool', 'ping', 'udhcpc', 'tcpdump', 'lspci']
      expect(await guest.run(['which', ...tools])).toMatchObject({ code: 0 })
    })

    it('gives an address to the network card over DHCP', async () => {
      const lease = await guest.run(['sh', '-c', 'ip link set eth0 up; udhcpc -i eth0 -n -q -f -s /bin/true'])
      expect(`${lease.stdout}${lease.stderr}`).toMatch(/lease of 10\.0\.2\.15 obtained/)
    })

    it('ends a command that takes too long, with what it started, and one whose signal is aborted', async () => {
      const slow = guest.run(['sh', '-c', 'echo begun; sleep 987; true'], { timeoutSeconds: 1 })
      await expect(slow).rejects.toMatchObject({
        code: 'guest.command-timeout',
        message: expect.stringContaining('begun'),
      })
      const abort = new AbortController()
      const aborted = guest.run(['sh', '-c', 'sleep 987; true'], { signal: abort.signal })
      abort.abort(new Error('enough'))
      await expect(aborted).rejects.toThrow('enough')
      expect((await guest.run(['ps'])).stdout).not.toContain('sleep 987')
    })

    it('spawns a process, waits for what it says, and kills it', async () => {
      const child: GuestProcess = await guest.spawn(['sh', '-c', 'read line; echo "got $line"; exec sleep 1000'], {
        stdin: true,
      })
      expect((await guest.run(['kill', '-0', String(child.pid)])).code).toBe(0)
      child.write('this\n')
      expect(await child.waitForLine(/^got/)).toBe('got this')
      child.kill('SIGKILL')
      expect(await child.exited).toEqual({ code: null, signal: 'SIGKILL' })
      expect((await guest.run(['kill', '-0', String(child.pid)])).code).toBe(1)
      await expect(child.waitForLine(/never/)).rejects.toMatchObject({ code: 'guest.command' })
    })

    it('takes files and gives them back', async () => {
      const data = randomBytes(3_000_001)
      await guest.writeFile('/tmp/new/folder/file', data, 0o640)
      const [sum, , mode] = (
        await guest.run(['sh', '-c', 'sha256sum $0; stat -c %a $0', '/tmp/new/folder/file'])
      ).stdout.split(/\s+/)
      expect([sum, mode]).toEqual([createHash('sha256').update(data).digest('hex'), '640'])
      expect((await guest.readFile('/tmp/new/folder/file')).equals(data)).toBe(true)
      // One of the folder given at boot.
      const given = (await guest.readFile('/tmp-files/passing.test.mjs')).toString()
      expect(given).toBe(readFileSync(join(verdict, 'passing.test.mjs'), 'utf8'))
      await expect(guest.readFile('/tmp/nothing')).rejects.toThrow(/No such file/)
    })

    it('runs the checkout’s netd, which finds nothing wrong that is not the guest’s', async () => {
      await guest.run(['modprobe', 'tun'])
      expect((await guest.run(['netd', '--version'])).stdout).toMatch(/^netd \d/)
      const doctor = await guest.run(['netd', 'doctor'])
      expect(doctor.stdout).not.toMatch(/^fail/m)
      expect(doctor).toMatchObject({ code: 0 })
    })

    it('takes QMP commands', async () => {
      const functions = await guest.qmp.queryPci()
      expect(functions.map(({ slot }) => slot)).toEqual(expect.arrayContaining([4, 0x1e]))
    })

    it('notices what the kernel and QEMU complain of, and fails at the end for it', async () => {
      expect(guest.complaints()).toEqual([])
      await guest.run(['sh', '-c', 'echo "WARNING: said by a test" > /dev/kmsg'])
      expect(guest.complaints()).toEqual([expect.stringContaining('WARNING: said by a test')])
      await expect(guest.shutdown()).rejects.toMatchObject({ code: 'guest.complaint' })
      const late = await guest.run(['true']).catch((error: unknown) => error)
      expect(late).toBeInstanceOf(GuestError)
      expect(late).toMatchObject({ code: 'guest.closed' })
      expect(existsSync(`/proc/${guest.pid}`)).toBe(false)
    })
  })

  it('is killed when its time is up, and when its signal is aborted', async () => {
    await expect(bootGuest({ timeoutSeconds: 1 })).rejects.toMatchObject({ code: 'guest.timeout' })
    await expect(bootGuest({ signal: AbortSignal.timeout(1000) })).rejects.toMatchObject({ code: 'guest.closed' })
    expect(descendants()).toEqual([])
  })

  it('says what QEMU said when it does not start', async () => {
    const none = bootGuest({ qemuArguments: ['-device', 'no-such-device'] })
    await expect(none).rejects.toMatchObject({ code: 'guest.boot', message: expect.stringContaining('no-such-device') })
  })

  it('run from the command line: 1 when a test fails, with what ran of the checkout', async () => {
    const scratch = mkdtempSync(join(tmpdir(), 'virtio-ts-harness-'))
    try {
      const { code, stdout } = await runProgram([verdict, '--timeout=110', `--coverage=${scratch}`])
      expect(stdout).toMatch(/^not ok .*failing\.test\.mjs|^not ok .*fails on purpose/m)
      expect(stdout).toContain('# pass 2\n# fail 1\n')
      expect(code).toBe(1)
      const reports = readdirSync(scratch).map((name) => readFileSync(join(scratch, name), 'utf8'))
      const source = new URL('../../packages/spec/dist/features.js', import.meta.url).href
      expect(reports.some((report) => report.includes(source))).toBe(true)
    } finally {
      rmSync(scratch, { recursive: true, force: true })
    }
    expect(marked()).toEqual([])
  })

  it('run from the command line: 125 for a panic, which ends it at once, and 2 without a folder', async () => {
    const panic = await runProgram([folder('panic'), '--timeout=110'])
    expect(panic.stderr).toContain('Kernel panic - not syncing: sysrq triggered crash')
    expect(panic.code).toBe(125)
    expect((await runProgram([])).code).toBe(2)
    expect(marked()).toEqual([])
  })
})

const mark = `VIRTIO_TS_HARNESS_TEST=${randomUUID()}`

async function runProgram(args: readonly string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const [name = '', value] = mark.split('=')
  const child = spawn(process.execPath, [folder('../../scripts/guest/run.mjs'), ...args], {
    env: { ...process.env, [name]: value },
  })
  const said = { stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => void (said.stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => void (said.stderr += text))
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve))
  return { code, ...said }
}

/** Processes that came of `runProgram`. */
function marked(): string[] {
  return processes((pid) => readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(mark))
}

/** QEMUs that this process has started. */
function descendants(): string[] {
  return processes((pid) => {
    const [, name, parent] = /^\d+ \((.*)\) \S (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? []
    return name?.startsWith('qemu') === true && Number(parent) === process.pid
  })
}

function processes(matches: (pid: string) => boolean): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && matches(pid)
    } catch {
      // Ended meanwhile.
      return false
    }
  })
}
