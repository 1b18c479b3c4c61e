import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { accelerator } from '../../scripts/guest/accelerator.mjs'
import { bootGuest, type Guest } from '../../scripts/guest/linux-guest.mjs'
import { requirement } from '../requirements.ts'
import { BackEndProgram } from '../support/back-end-program.ts'
import { DiskImage } from '../support/disk-image.ts'

const MiB = 2 ** 20
/** Milliseconds after which a connected front-end has set its rings up. */
const SETTLED = 2000

/** QEMU 7.2 ends by SIGSEGV at DRIVER_OK when a vhost device has MSI-X vectors and there is no KVM. */
const vectors = accelerator() === 'kvm' ? '' : ',vectors=0'

// Linux' own drivers on our back-end programs: nobody here wrote what is between the file system and the socket.
requirement('guest')('our back-end programs under a Linux guest', () => {
  let folder = ''
  let image: DiskImage
  let disk: BackEndProgram
  let rng: BackEndProgram
  let guest: Guest

  const launchDisk = (): Promise<BackEndProgram> =>
    BackEndProgram.launch(join(folder, 'disk'), ['block', `--blk-file=${image.path}`, '--num-queues=2'])
  const launchRng = (): Promise<BackEndProgram> => BackEndProgram.launch(join(folder, 'rng'), ['rng'])

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'virtio-ts-back-ends-'))
    image = new DiskImage(128 * MiB)
    ;[disk, rng] = await Promise.all([launchDisk(), launchRng()])
    const chardev = (name: string): string => `socket,id=${name},path=${join(folder, name)}`
    // The first boot may have to make the image.
    guest = await bootGuest({
      sharedMemory: true,
      parts: ['block'],
      timeoutSeconds: 900,
      qemuArguments: [
        ...[
          '-chardev',
          `${chardev('disk')},reconnect=1`,
          '-device',
          `vhost-user-blk-pci,chardev=disk,num-queues=2,addr=0x4${vectors}`,
        ],
        ...['-chardev', chardev('rng'), '-device', `vhost-user-rng-pci,chardev=rng,addr=0x5${vectors}`],
      ],
    })
  }, 240_000)
  afterAll(async () => {
    await guest?.kill()
    await disk?.kill()
    await rng?.kill()
    image?.remove()
    rmSync(folder, { recursive: true, force: true })
  })

  /** Runs a shell script in the guest, which must go well. @returns what it says */
  async function sh(script: string, timeoutSeconds = 120): Promise<string> {
    const { code, stdout, stderr } = await guest.run(['sh', '-ec', script], { timeoutSeconds })
    expect([script, code, code === 0 ? '' : `${stdout}${stderr}`]).toEqual([script, 0, ''])
    return stdout
  }

  const fio = (more: string): string =>
    `fio --name=mix --bs=4k --iodepth=8 --ioengine=libaio --direct=1 --verify=crc32c --verify_fatal=1 --randrepeat=0 ${more}`

  describe('that keep a disk', () => {
    it('is a disk of Linux, with its queues, its cache and its discards', async () => {
      await sh('modprobe virtio_blk; modprobe ext4')
      expect(Number(await sh('blockdev --getsize64 /dev/vda'))).toBe(128 * MiB)
      expect(await sh('cat /sys/block/vda/queue/write_cache')).toBe('write back\n')
      expect(await sh('cat /sys/block/vda/serial')).toBe('virtio-ts')
      expect(Number(await sh('cat /sys/block/vda/queue/discard_max_bytes'))).toBeGreaterThan(0)
      expect(Number(await sh('ls /sys/block/vda/mq | wc -l'))).toBe(2)
    })

    it('takes a file system, a verified random load on it, and is clean afterwards', async () => {
      await sh('mkfs.ext4 -q /dev/vda; mkdir -p /mnt; mount -o discard /dev/vda /mnt')
      await sh(fio('--directory=/mnt --size=24M --rw=randrw --do_verify=1 --fsync=64'), 400)
      await sh('for n in 1 2 3 4 5 6 7 8; do dd if=/dev/urandom of=/mnt/$n bs=64k count=16 2>/dev/null; done')
      const sums = await sh('cd /mnt; sha256sum 1 2 3 4 5 6 7 8')
      await sh('umount /mnt; echo 3 > /proc/sys/vm/drop_caches; mount -o discard /dev/vda /mnt')
      expect(await sh('cd /mnt; sha256sum 1 2 3 4 5 6 7 8')).toBe(sums)
      await sh('umount /mnt; fsck.ext4 -f -n /dev/vda')
    }, 600_000)

    it('gives the storage of deleted files back to the image', async () => {
      // Until here nothing has ended: QEMU has nothing to say either.
      expect(guest.complaints()).toEqual([])
      await sh('mount -o discard /dev/vda /mnt; dd if=/dev/urandom of=/mnt/large bs=1M count=32 2>/dev/null; sync')
      const full = image.allocated()
      await sh('rm /mnt/large; sync; umount /mnt')
      expect(image.allocated()).toBeLessThan(full - 24 * MiB)
      await sh('fsck.ext4 -f -n /dev/vda')
    }, 120_000)

    it.each(['SIGTERM', 'SIGKILL'] as const)(
      'ended by %s under a load and started again: no request is lost, and the file system is clean',
      async (signal) => {
        await sh('mount /dev/vda /mnt')
        const load = sh(fio('--directory=/mnt --size=24M --rw=randwrite --do_verify=1 --fsync=32'), 400)
        for (let round = 0; round < 3; round++) {
          // Not amid the exchange of messages: what QEMU does then is not what this is about.
          await disk.connected()
          await new Promise((resolve) => setTimeout(resolve, SETTLED))
          if (signal === 'SIGTERM') expect(await disk.terminate()).toBe(0)
          else await disk.kill()
          disk = await launchDisk()
        }
        await load
        await sh('umount /mnt; fsck.ext4 -f -n /dev/vda')
      },
      300_000,
    )
  })

  // QEMU 7.2 ends by SIGABRT when a vhost-user-rng has a chardev with `reconnect`: this one is not ended before the guest.
  it('feed /dev/hwrng', async () => {
    await sh('modprobe virtio_rng')
    expect(await sh('cat /sys/class/misc/hw_random/rng_current')).toMatch(/^virtio_rng/)
    const read = (): Promise<string> => sh('dd if=/dev/hwrng bs=64 count=16 2>/dev/null | sha256sum')
    const seen = new Set([await read(), await read(), await read()])
    expect(seen.size).toBe(3)
    expect(Number(await sh('dd if=/dev/hwrng bs=64 count=16 2>/dev/null | wc -c'))).toBe(1024)
  })

  it('leave the kernel nothing to complain of, and end cleanly', async () => {
    // QEMU has words for each end of a back-end, and for each attempt to reach the next one.
    expect(guest.complaints().filter((line) => !line.startsWith('qemu-system'))).toEqual([])
    await expect(guest.shutdown()).rejects.toMatchObject({ code: 'guest.complaint' })
    expect(await disk.terminate()).toBe(0)
    expect(await rng.terminate()).toBe(0)
  })
})
