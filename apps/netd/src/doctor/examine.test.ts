import { describe, expect, it } from 'vitest'
import type { CheckResult } from './check.ts'
import { examine } from './examine.ts'
import { type FakeMachineParts, fakeMachine } from './fake-machine.fixture.ts'
import { thisMachine } from './machine.ts'

const unprivileged = { '/proc/self/status': 'CapEff:\t0000000000000000\n' }
const noNamespaces = { unshare: { exitCode: 1, output: 'unshare: unshare failed: Operation not permitted' } }

async function check(id: string, parts: FakeMachineParts): Promise<CheckResult> {
  const result = (await examine(fakeMachine(parts))).find((each) => each.id === id)
  if (!result) throw new Error(`no check ${id}`)
  return result
}

describe('examine', () => {
  it('passes where everything is there', async () => {
    const results = await examine(fakeMachine())
    expect(results.map(({ id, status }) => `${status} ${id}`)).toEqual(
      [
        'platform',
        'node',
        'koffi',
        'tun',
        'permission',
        'namespaces',
        'qemu',
        'hugepages',
        'memlock',
        'iommu',
        'vfio',
        'vfio-groups',
        'binding',
        'ip',
        'uio',
        'pagemap',
        'ptrace',
      ].map((id) => `pass ${id}`),
    )
    expect(results.find(({ id }) => id === 'qemu')?.summary).toBe('QEMU 7.2.22')
  })

  it.each<[string, FakeMachineParts, string, RegExp, RegExp]>([
    ['platform', { changes: { platform: 'darwin' } }, 'fail', /darwin has no TAP/, /Linux/],
    ['platform', { changes: { arch: 'riscv64' } }, 'warn', /riscv64/, /x64/],
    ['node', { changes: { nodeVersion: '20.18.3' } }, 'fail', /20\.18\.3 is too old/, /nodejs\.org/],
    ['node', { changes: { nodeVersion: '18.99.0' } }, 'fail', /too old/, /nodejs\.org/],
    [
      'koffi',
      { nativeError: new Error('Cannot find the native Koffi module\nstack') },
      'fail',
      /Cannot find the native Koffi module$/,
      /--include=optional/,
    ],
    ['tun', { paths: ['/proc/self/ns/net'] }, 'fail', /is missing/, /modprobe tun/],
    ['tun', { openErrors: { '/dev/net/tun': 'EACCES' } }, 'fail', /may not be opened \(EACCES\)/, /chmod 0666/],
    ['tun', { openErrors: { '/dev/net/tun': 'ENODEV' } }, 'fail', /does not open \(ENODEV\)/, /modprobe tun/],
    ['permission', { files: unprivileged }, 'warn', /no CAP_NET_ADMIN/, /unshare -rn netd run/],
    ['permission', { files: unprivileged, programs: noNamespaces }, 'fail', /no CAP_NET_ADMIN/, /^sudo netd run/],
    ['permission', { files: { '/proc/self/status': 'CapEff:\t0000000000001000\n' } }, 'pass', /CAP_NET_ADMIN/, /^$/],
    ['permission', { files: { '/proc/self/status': 'garbage' } }, 'warn', /no CAP_NET_ADMIN/, /sudo/],
    ['namespaces', { paths: ['/dev/net/tun'] }, 'fail', /no network namespaces/, /CONFIG_NET_NS/],
    [
      'namespaces',
      { programs: noNamespaces, files: { '/proc/sys/kernel/unprivileged_userns_clone': '0' } },
      'warn',
      /unprivileged_userns_clone is 0/,
      /sysctl kernel\.unprivileged_userns_clone=1/,
    ],
    [
      'namespaces',
      { programs: noNamespaces, files: { '/proc/sys/user/max_user_namespaces': '0' } },
      'warn',
      /max_user_namespaces is 0/,
      /sysctl user\.max_user_namespaces/,
    ],
    [
      'namespaces',
      { programs: noNamespaces, files: { '/proc/sys/kernel/apparmor_restrict_unprivileged_userns': '1' } },
      'warn',
      /AppArmor/,
      /apparmor_restrict/,
    ],
    ['namespaces', { programs: noNamespaces }, 'warn', /seccomp/, /seccomp=unconfined/],
    [
      'qemu',
      { programs: { 'qemu-system-x86_64': { exitCode: undefined, output: '' } } },
      'warn',
      /qemu-system-x86_64 is not there/,
      /apt-get install qemu-system-x86/,
    ],
    [
      'qemu',
      { programs: { 'qemu-system-x86_64': { exitCode: 1, output: 'error while loading shared libraries' } } },
      'warn',
      /does not tell/,
      /apt-get/,
    ],
    [
      'qemu',
      { programs: { 'qemu-system-x86_64': { exitCode: 0, output: 'QEMU emulator version 6.2.0' } } },
      'warn',
      /6\.2\.0 is older/,
      /apt-get/,
    ],
    [
      'qemu',
      { changes: { env: { VIRTIO_TS_QEMU: '/opt/qemu' } } },
      'warn',
      /\/opt\/qemu is not there/,
      /VIRTIO_TS_QEMU/,
    ],
    [
      'hugepages',
      { files: { '/proc/meminfo': 'HugePages_Total: 0\nHugePages_Free: 0\n' } },
      'warn',
      /no hugepages/,
      /vm\.nr_hugepages=64/,
    ],
    [
      'hugepages',
      { files: { '/proc/meminfo': 'HugePages_Total: 8\nHugePages_Free: 0\n' } },
      'warn',
      /all 8 hugepages/,
      /vm\.nr_hugepages=72/,
    ],
    [
      'memlock',
      {
        files: {
          ...unprivileged,
          '/proc/self/limits': 'Max locked memory         8388608              8388608              bytes     \n',
        },
      },
      'warn',
      /only 8388608 bytes/,
      /ulimit -l unlimited/,
    ],
    [
      'memlock',
      {
        files: {
          ...unprivileged,
          '/proc/self/limits': 'Max locked memory         67108864             67108864             bytes     \n',
        },
      },
      'pass',
      /67108864/,
      /^$/,
    ],
    ['memlock', { files: { ...unprivileged, '/proc/self/limits': '' } }, 'warn', /unknown number/, /ulimit/],
    ['iommu', { paths: [] }, 'warn', /no IOMMU/, /intel_iommu=on/],
    ['vfio', { paths: [] }, 'warn', /vfio-pci is not loaded:/, /^sudo modprobe vfio-pci$/],
    [
      'vfio',
      { paths: [], programs: { modprobe: { exitCode: 1, output: '' } } },
      'warn',
      /not among this kernel's modules/,
      /linux-modules-extra/,
    ],
    [
      'vfio',
      { paths: ['/sys/bus/pci/drivers/vfio-pci'] },
      'warn',
      /vfio_iommu_type1 is not loaded/,
      /^sudo modprobe vfio_iommu_type1$/,
    ],
    [
      'vfio',
      { paths: ['/sys/bus/pci/drivers/vfio-pci', '/sys/module/vfio_iommu_type1'] },
      'warn',
      /no \/dev\/vfio\/vfio/,
      /--device \/dev\/vfio/,
    ],
    ['vfio', { openErrors: { '/dev/vfio/vfio': 'EACCES' } }, 'warn', /does not open \(EACCES\)/, /root/],
    ['vfio-groups', { paths: ['/dev/vfio/vfio'] }, 'pass', /no device is bound/, /^$/],
    [
      'vfio-groups',
      { writeErrors: { '/dev/vfio/7': 'EACCES' }, changes: { uid: 1000 } },
      'warn',
      /\/dev\/vfio\/7 may not be opened \(EACCES\)/,
      /sudo chown 1000 \/dev\/vfio\/7/,
    ],
    ['binding', { writeErrors: { '/sys/bus/pci/drivers_probe': 'EACCES' } }, 'warn', /EACCES/, /^sudo netd bind/],
    ['binding', { writeErrors: { '/sys/bus/pci/drivers_probe': 'EROFS' } }, 'warn', /read-only/, /--privileged/],
    ['binding', { paths: [] }, 'warn', /no PCI bus/, /vhost-user/],
    ['ip', { programs: { ip: { exitCode: undefined, output: '' } } }, 'warn', /no ip command/, /iproute2/],
    ['ip', { programs: { ip: { exitCode: 1, output: 'invalid option' } } }, 'warn', /not answer in JSON/, /iproute2/],
    ['uio', { paths: [] }, 'warn', /uio_pci_generic is not loaded/, /^sudo modprobe uio_pci_generic$/],
    ['pagemap', { paths: [] }, 'warn', /no \/proc\/self\/pagemap/, /CONFIG_PROC_PAGE_MONITOR/],
    ['pagemap', { files: unprivileged }, 'warn', /no CAP_SYS_ADMIN/, /^sudo/],
    ['ptrace', { files: unprivileged }, 'warn', /no CAP_SYS_PTRACE/, /^sudo/],
  ])('%s in environment %j', async (id, parts, status, summary, fix) => {
    const result = await check(id, parts)
    expect(result.status).toBe(status)
    expect(result.summary).toMatch(summary)
    expect(result.fix ?? '').toMatch(fix)
  })

  it('examines the machine it runs on, whatever that is', async () => {
    const results = await examine(thisMachine)
    expect(results.map(({ id }) => id)).toContain('node')
    for (const { status, summary, fix } of results) {
      expect(summary).not.toBe('')
      expect(fix === undefined).toBe(status === 'pass')
    }
    expect(results.find(({ id }) => id === 'node')?.status).toBe('pass')
  })
})

describe('thisMachine', () => {
  it('tells programs that fail from programs that are not there', async () => {
    expect(await thisMachine.run('sh', ['-c', 'echo out; echo err >&2; exit 3'])).toEqual({
      exitCode: 3,
      output: 'out\nerr',
    })
    expect(await thisMachine.run('a-program-that-nobody-has', [])).toEqual({ exitCode: undefined, output: '' })
  })

  it('opens, reads and lists, or says that it cannot', () => {
    expect(thisMachine.tryOpen('/dev/null')).toBeUndefined()
    expect(thisMachine.tryOpen('/does/not/exist')).toBe('ENOENT')
    expect(thisMachine.tryWritable('/dev/null')).toBeUndefined()
    expect(thisMachine.tryWritable('/does/not/exist')).toBe('ENOENT')
    expect(thisMachine.readText('/proc/self/status')).toContain('CapEff')
    expect(thisMachine.readText('/does/not/exist')).toBeUndefined()
    expect(thisMachine.listNames('/does/not/exist')).toEqual([])
  })
})
