// @ts-check
// Who keeps the disk: a fresh one for each run.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { BlockDriver } from '@virtio-ts/driver-block'
import { QemuBench } from '@virtio-ts/qemu'
import { DeviceType } from '@virtio-ts/spec'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { VhostUserEndpoint } from '@virtio-ts/transport-vhost-user'
import { deviceCpu } from '../machine/cores.mjs'
import { temporaryFolder } from '../machine/temporary-folder.mjs'
import { BLOCK, BLOCKS } from './cases.mjs'

/** @typedef {import('@virtio-ts/driver-block').BlockOptions} BlockOptions */

/** A disk of nothing that answers at once. */
export const nothing = `driver=null-co,node-name=disk,size=${BLOCK * BLOCKS},read-zeroes=off`
/** @param {string} image */
export const inFile = (image) => `driver=file,node-name=disk,filename=${image}`

/**
 * qemu-storage-daemon with one disk behind a socket.
 * @template T @param {string} blockdev @param {(path: string) => Promise<T>} use
 */
export async function onStorageDaemon(blockdev, use) {
  const path = join(temporaryFolder(), 'socket')
  const exported = `type=vhost-user-blk,id=e0,node-name=disk,addr.type=unix,addr.path=${path},writable=on`
  const words = ['qemu-storage-daemon', '--blockdev', blockdev, '--export', exported]
  // What does nothing is bound to a core of its own: beside the driver on one core each of the two would wait for the other.
  const bound = blockdev === nothing ? ['taskset', '--cpu-list', String(deviceCpu)] : []
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...bound, ...words], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  try {
    for (let i = 0; !existsSync(path); i++) {
      if (i > 500 || child.exitCode !== null) throw new Error('qemu-storage-daemon does not listen')
      await sleep(10)
    }
    return await use(path)
  } finally {
    child.kill('SIGKILL')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    rmSync(path, { force: true })
  }
}

/** @template T @param {string} path @param {BlockOptions} options @param {(disk: BlockDriver) => Promise<T>} use */
export async function overVhostUser(path, options, use) {
  const endpoint = new VhostUserEndpoint({ path, deviceType: DeviceType.BLOCK })
  const disk = await BlockDriver.open(await endpoint.connect({ wait: true }), options)
  try {
    return await use(disk)
  } finally {
    await disk.close()
    await endpoint.close()
  }
}

/** A disk of QEMU without a guest. @template T @param {string} image @param {(disk: BlockDriver) => Promise<T>} use */
export async function onQemu(image, use) {
  const qemu = await QemuBench.start({
    devices: ['virtio-blk-pci,drive=d0,disable-legacy=on'],
    drives: [`if=none,id=d0,file=${image},format=raw`],
  })
  try {
    const disk = await BlockDriver.open(await VirtioPciDriver.attach(qemu.function(0)))
    const result = await use(disk)
    await disk.close()
    return result
  } finally {
    await qemu.close()
  }
}
