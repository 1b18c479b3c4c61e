import { expect, it } from 'vitest'
import { hugePageFolder } from './huge-page-folder.ts'

const meminfo = 'MemTotal: 1 kB\nHugepagesize:       2048 kB\nHugetlb: 0 kB\n'

it.each([
  ['hugetlbfs /dev/hugepages hugetlbfs rw,relatime,pagesize=2M 0 0', '/dev/hugepages'],
  ['none /mnt/a\\040b hugetlbfs rw,relatime 0 0', '/mnt/a b'],
  ['none /huge1G hugetlbfs rw,pagesize=1024M 0 0\nnone /huge2M hugetlbfs rw,pagesize=2M 0 0', '/huge2M'],
  ['none /huge hugetlbfs ro,relatime,pagesize=2M 0 0', undefined],
  ['tmpfs /dev/hugepages tmpfs rw 0 0\n', undefined],
])('finds the folder in %j', (mounts, folder) => {
  expect(hugePageFolder(mounts, meminfo)).toBe(folder)
})
