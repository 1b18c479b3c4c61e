import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, expect, it } from 'vitest'
import {
  VFIO_API_VERSION,
  VfioDeviceFlag,
  VfioDmaFlag,
  VfioGroupFlag,
  VfioIoctl,
  VfioIommu,
  VfioIommuCapability,
  VfioIommuInfoFlag,
  VfioIrq,
  VfioIrqSet,
  VfioRegion,
  VfioRegionCapability,
  VfioRegionFlag,
} from '../../packages/pci/src/vfio/vfio-abi.ts'
import {
  dmaMap,
  dmaUnmap,
  irqSet,
  parseIommuInfo,
  parseRegionInfo,
  sized,
  VfioSize,
  word,
} from '../../packages/pci/src/vfio/vfio-structs.ts'
import { requirement } from '../requirements.ts'

const header = '/usr/include/linux/vfio.h'
const needed = (): string | undefined =>
  existsSync(header) ? undefined : `no ${header} (apt-get install linux-libc-dev)`

const numbers: Readonly<Record<string, number>> = {
  VFIO_API_VERSION,
  ...prefixed('VFIO_', VfioIoctl),
  VFIO_TYPE1_IOMMU: VfioIommu.TYPE1,
  VFIO_TYPE1v2_IOMMU: VfioIommu.TYPE1V2,
  VFIO_NOIOMMU_IOMMU: VfioIommu.NOIOMMU,
  ...prefixed('VFIO_GROUP_FLAGS_', VfioGroupFlag),
  ...prefixed('VFIO_DEVICE_FLAGS_', VfioDeviceFlag),
  ...prefixed('VFIO_REGION_INFO_FLAG_', VfioRegionFlag),
  ...prefixed('VFIO_REGION_INFO_CAP_', VfioRegionCapability),
  VFIO_PCI_CONFIG_REGION_INDEX: VfioRegion.CONFIG,
  VFIO_PCI_INTX_IRQ_INDEX: VfioIrq.INTX,
  VFIO_PCI_MSIX_IRQ_INDEX: VfioIrq.MSIX,
  VFIO_PCI_ERR_IRQ_INDEX: VfioIrq.ERROR,
  VFIO_PCI_REQ_IRQ_INDEX: VfioIrq.REQUEST,
  ...prefixed('VFIO_IRQ_SET_', VfioIrqSet),
  VFIO_IOMMU_INFO_PGSIZES: VfioIommuInfoFlag.PAGE_SIZES,
  VFIO_IOMMU_INFO_CAPS: VfioIommuInfoFlag.CAPS,
  VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE: VfioIommuCapability.IOVA_RANGE,
  ...prefixed('VFIO_DMA_MAP_FLAG_', VfioDmaFlag),
  'sizeof(struct vfio_group_status)': VfioSize.GROUP_STATUS,
  'offsetof(struct vfio_device_info, cap_offset)': VfioSize.DEVICE_INFO - 4,
  'sizeof(struct vfio_region_info)': VfioSize.REGION_INFO,
  'sizeof(struct vfio_irq_info)': VfioSize.IRQ_INFO,
  'offsetof(struct vfio_irq_info, count)': 12,
  'offsetof(struct vfio_irq_set, data)': VfioSize.IRQ_SET,
  'offsetof(struct vfio_iommu_type1_info, cap_offset)': VfioSize.IOMMU_INFO - 8,
  'sizeof(struct vfio_iommu_type1_dma_map)': VfioSize.DMA_MAP,
  'offsetof(struct vfio_iommu_type1_dma_unmap, data)': VfioSize.DMA_UNMAP,
}

/** Structures as C fills them in, byte by byte. */
const structures = `
  struct vfio_iommu_type1_dma_map map = { sizeof(map), VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE, 0x7f0102030405, 0x200000, 0x123456789000 };
  struct vfio_iommu_type1_dma_unmap unmap = { .argsz = sizeof(unmap), .iova = 0x200000, .size = 0x123456789000 };
  struct { struct vfio_irq_set set; int fds[3]; } irqs = { { sizeof(irqs), VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_PCI_MSIX_IRQ_INDEX, 0, 3 }, { 7, 8, 300 } };
  struct { struct vfio_region_info info; struct vfio_region_info_cap_sparse_mmap sparse; struct vfio_region_sparse_mmap_area areas[2]; struct vfio_info_cap_header last; } region = {
    { sizeof(region), VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_CAPS, 4, sizeof(struct vfio_region_info), 0x4000, 0x40000000000 },
    { { VFIO_REGION_INFO_CAP_SPARSE_MMAP, 1, (char *)&region.last - (char *)&region }, 2 }, { { 0, 0x1000 }, { 0x2000, 0x3000 } }, { VFIO_REGION_INFO_CAP_MSIX_MAPPABLE, 1, 0 } };
  struct { struct vfio_iommu_type1_info info; struct vfio_iommu_type1_info_dma_avail avail; struct vfio_iommu_type1_info_cap_iova_range cap; struct vfio_iova_range ranges[2]; } iommu = {
    { sizeof(iommu), VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS, 0x40201000, sizeof(struct vfio_iommu_type1_info) },
    { { VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, 1, (char *)&iommu.cap - (char *)&iommu }, 65535 },
    { { VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, 1, 0 }, 2 }, { { 0, 0xfedfffff }, { 0xfef00000, 0x7fffffffff } } };
  struct vfio_irq_info irq = { sizeof(irq), VFIO_IRQ_INFO_EVENTFD, VFIO_PCI_MSIX_IRQ_INDEX, 4 };
`

requirement(needed, 'cc')('VFIO as this code knows it, against the header of Linux', () => {
  const said = new Map<string, string>()

  beforeAll(() => {
    const folder = mkdtempSync(join(tmpdir(), 'vfio-uapi-'))
    try {
      const dumps = ['map', 'unmap', 'irqs', 'region', 'iommu', 'irq']
      writeFileSync(
        join(folder, 'print.c'),
        `#include <stddef.h>\n#include <stdio.h>\n#include <linux/vfio.h>
        static void dump(const char *name, const void *bytes, size_t length) {
          printf("%s ", name);
          for (size_t i = 0; i < length; i++) printf("%02x", ((const unsigned char *)bytes)[i]);
          printf("\\n");
        }
        int main(void) {
          ${Object.keys(numbers)
            .map((name) => `printf("%s %llu\\n", "${name.replaceAll(' ', '_')}", (unsigned long long)(${name}));`)
            .join('\n')}
          ${structures}
          ${dumps.map((name) => `dump("${name}", &${name}, sizeof(${name}));`).join('\n')}
          return 0;
        }`,
      )
      execFileSync('cc', ['-o', join(folder, 'print'), join(folder, 'print.c')])
      for (const line of execFileSync(join(folder, 'print'), { encoding: 'utf8' }).trim().split('\n')) {
        const [name = '', value = ''] = line.split(' ')
        said.set(name, value)
      }
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  const bytes = (name: string): Uint8Array => new Uint8Array(Buffer.from(said.get(name) ?? '', 'hex'))

  it('numbers and sizes', () => {
    const theirs = Object.keys(numbers).map((name) => [name, Number(said.get(name.replaceAll(' ', '_')))])
    expect(numbers).toEqual(Object.fromEntries(theirs))
  })

  it('what is written', () => {
    expect(dmaMap(0x7f0102030405, 0x20_0000, 0x1234_5678_9000)).toEqual(bytes('map'))
    expect(dmaUnmap(0x20_0000, 0x1234_5678_9000)).toEqual(bytes('unmap'))
    expect(irqSet(0x24, VfioIrq.MSIX, 3, [7, 8, 300])).toEqual(bytes('irqs'))
    expect(sized(VfioSize.IRQ_INFO, 1, VfioIrq.MSIX, 4)).toEqual(bytes('irq'))
    expect(word(bytes('irq'), 12)).toBe(4)
  })

  it('what is read', () => {
    expect(parseRegionInfo(bytes('region'))).toEqual({
      flags: VfioRegionFlag.READ | VfioRegionFlag.CAPS,
      size: 0x4000,
      offset: 0x400_0000_0000,
      mappable: [
        { offset: 0, length: 0x1000 },
        { offset: 0x2000, length: 0x3000 },
      ],
      msixMappable: true,
    })
    expect(parseIommuInfo(bytes('iommu'))).toEqual({
      pageLength: 4096,
      ranges: [
        { start: 0n, end: 0xfedf_ffffn },
        { start: 0xfef0_0000n, end: 0x7f_ffff_ffffn },
      ],
    })
  })
})

function prefixed(prefix: string, group: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(group).map(([name, value]) => [`${prefix}${name}`, value]))
}
