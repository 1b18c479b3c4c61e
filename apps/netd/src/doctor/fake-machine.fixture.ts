import type { Machine, ProgramResult } from './machine.ts'

export interface FakeMachineParts {
  readonly files?: Readonly<Record<string, string>>
  /** Paths that exist without being read; those of `files` exist anyway. */
  readonly paths?: readonly string[]
  readonly writeErrors?: Readonly<Record<string, string>>
  readonly openErrors?: Readonly<Record<string, string>>
  readonly programs?: Readonly<Record<string, ProgramResult>>
  readonly nativeError?: Error
  readonly changes?: Partial<Machine>
}

/** A machine on which everything is there, but for what a test takes away. */
export function fakeMachine({
  files = {},
  paths,
  openErrors = {},
  writeErrors = {},
  programs = {},
  nativeError,
  changes = {},
}: FakeMachineParts = {}): Machine {
  const texts: Record<string, string> = {
    '/proc/self/status': 'Name:\tnode\nCapEff:\t000001ffffffffff\n',
    '/proc/self/limits':
      'Limit  Soft Limit  Hard Limit  Units\nMax locked memory         unlimited            unlimited            bytes     \n',
    '/proc/meminfo': 'HugePages_Total:      64\nHugePages_Free:       60\nHugepagesize:       2048 kB\n',
    ...files,
  }
  const existing = paths ?? [
    '/dev/net/tun',
    '/proc/self/ns/net',
    '/sys/bus/pci/drivers/vfio-pci',
    '/dev/vfio/vfio',
    '/dev/vfio/7',
    '/sys/module/vfio_iommu_type1',
    '/sys/bus/pci/drivers_probe',
    '/sys/bus/pci/drivers/uio_pci_generic',
    '/proc/self/pagemap',
    '/sys/kernel/iommu_groups/0',
    '/sys/kernel/iommu_groups/1',
  ]
  const results: Readonly<Record<string, ProgramResult>> = {
    ip: { exitCode: 0, output: '[{"ifname":"lo"}]' },
    modprobe: { exitCode: 0, output: '' },
    unshare: { exitCode: 0, output: '' },
    'qemu-system-x86_64': { exitCode: 0, output: 'QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)' },
    ...programs,
  }
  return {
    platform: 'linux',
    arch: 'x64',
    nodeVersion: '20.20.2',
    uid: 0,
    env: {},
    tryNative: async () => {
      if (nativeError) throw nativeError
    },
    tryOpen: (path) => (existing.includes(path) ? openErrors[path] : 'ENOENT'),
    tryWritable: (path) => (existing.includes(path) ? writeErrors[path] : 'ENOENT'),
    exists: (path) => path in texts || existing.includes(path),
    readText: (path) => texts[path],
    listNames: (path) => existing.filter((each) => each.startsWith(`${path}/`)),
    run: async (program) => results[program] ?? { exitCode: undefined, output: '' },
    ...changes,
  }
}
