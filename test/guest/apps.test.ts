import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { bootGuest, type Guest } from '../../scripts/guest/linux-guest.mjs'
import { requirement } from '../requirements.ts'

const disk = '0000:00:05.0'
const serial = '0000:00:06.0'
const megabytes = 24
const onIommu = 'iommu_platform=on,disable-legacy=on'

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

requirement('guest')('blkd and vcon on functions of a Linux guest', () => {
  let directory: string
  let image: string
  let contents: Uint8Array
  let guest: Guest

  async function shell(script: string): Promise<string> {
    const { code, stdout, stderr } = await guest.run(['sh', '-euc', script], { timeoutSeconds: 120 })
    if (code !== 0) throw new Error(`${script}: ${code} ${stderr}`)
    return stdout.trim()
  }

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'virtio-ts-guest-apps-'))
    image = join(directory, 'disk.img')
    contents = randomBytes(megabytes * 1024 * 1024)
    writeFileSync(image, contents)
    guest = await bootGuest({
      iommu: true,
      qemuArguments: [
        ...['-drive', `if=none,id=d0,file=${image},format=raw`],
        ...['-device', `virtio-blk-pci,drive=d0,addr=0x5,serial=guest-disk,num-queues=2,${onIommu}`],
        ...['-chardev', `socket,id=c0,path=${join(directory, 'port.sock')},server=on,wait=off`],
        ...['-device', `virtio-serial-pci,id=bus1,addr=0x6,${onIommu}`],
        ...['-device', 'virtserialport,bus=bus1.0,chardev=c0,name=org.virtio-ts.test'],
      ],
    })
  }, 180_000)

  afterAll(async () => {
    try {
      await guest?.shutdown()
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
  }, 60_000)

  it('says how to bind a disk that the kernel still has, with exit code 69, and leaves it alone', async () => {
    const { code, stderr } = await guest.run(['blkd', 'info', `vfio:${disk}`])
    expect(code).toBe(69)
    expect(stderr).toContain('is not bound to vfio-pci')
    expect(stderr).toContain('driver_override')
    expect(await shell(`basename $(readlink /sys/bus/pci/devices/${disk}/driver)`)).toBe('virtio-pci')
  })

  it('reads and writes a disk through VFIO', async () => {
    await shell(
      `modprobe vfio-pci; for F in ${disk} ${serial}; do echo vfio-pci > /sys/bus/pci/devices/$F/driver_override; ` +
        'echo $F > /sys/bus/pci/devices/$F/driver/unbind; echo $F > /sys/bus/pci/drivers_probe; done',
    )
    const info = JSON.parse(await shell(`blkd info vfio:${disk} --json`)) as Record<string, unknown>
    expect(JSON.stringify(info)).toContain('guest-disk')
    expect(await shell(`blkd copy vfio:${disk} /tmp/disk.out; sha256sum < /tmp/disk.out`)).toContain(sha256(contents))
    // Turned round, so that nothing of it is where it was.
    await shell(
      `cat /tmp/disk.out | tail -c ${12 * 1024 * 1024} > /tmp/new; head -c ${12 * 1024 * 1024} /tmp/disk.out >> /tmp/new`,
    )
    await shell(`blkd copy /tmp/new vfio:${disk}`)
    const middle = contents.length / 2
    expect(sha256(readFileSync(image))).toBe(
      sha256(Buffer.concat([contents.subarray(middle), contents.subarray(0, middle)])),
    )
  }, 180_000)

  it('lists the ports of a console device through VFIO', async () => {
    expect(await shell(`vcon list vfio:${serial}`)).toContain('org.virtio-ts.test')
  })

  it('does not take a balloon, whose page numbers an IOMMU would make wrong', async () => {
    const { code, stderr } = await guest.run(['balloond', `vfio:${serial}`])
    expect(code).toBe(69)
    expect(stderr).toContain('not available')
  })

  it('gives the kernel its disk back', async () => {
    await shell(
      `F=${disk}; echo > /sys/bus/pci/devices/$F/driver_override; echo $F > /sys/bus/pci/devices/$F/driver/unbind; ` +
        'echo $F > /sys/bus/pci/drivers_probe; modprobe virtio_blk; for I in 1 2 3 4 5 6 7 8 9; do [ -b /dev/vda ] && break; sleep 0.5; done',
    )
    const head = await shell('head -c 65536 /dev/vda | sha256sum')
    expect(head).toContain(sha256(contents.subarray(contents.length / 2, contents.length / 2 + 65536)))
  })
})
