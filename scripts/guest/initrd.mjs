// @ts-check
import { appendFileSync, copyFileSync, mkdtempSync, openSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { checkoutTree } from './checkout-tree.mjs'
import { entriesBelow, writeCpio } from './cpio.mjs'
import { guestImage } from './guest-image.mjs'

const AGENT_FOLDER = '/usr/lib/guest-agent'

/** A part of the image that is not always there. `block`: fio, mkfs.ext4, fsck.ext4, util-linux's mount. @typedef {'block'} Part */

/** Something of this machine for the guest: a file, or a folder with all below it. @typedef {{ from: string, to: string }} GuestFile */

/**
 * Puts the parts into one file: the kernel unpacks archives that follow each other.
 * @param {readonly Part[]} parts @param {readonly GuestFile[]} files
 * @returns {{ kernel: string, initrd: number }} a path, and a descriptor, the caller's, of a file without a name
 */
export function makeInitrd(parts, files) {
  // Before anything that takes long.
  const tree = checkoutTree()
  const image = guestImage()
  const folder = mkdtempSync(join(tmpdir(), 'virtio-ts-guest-'))
  try {
    const path = join(folder, 'initrd')
    copyFileSync(image.base, path)
    const initrd = openSync(path, 'a+')
    if (parts.includes('block')) appendFileSync(initrd, readFileSync(image.block))
    writeCpio(initrd, (writer) => {
      for (const entry of [...agentFiles(), ...tree, ...files.flatMap(given)]) writer.add(entry)
    })
    return { kernel: image.kernel, initrd }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** @returns {import('./cpio.mjs').Entry[]} */
function agentFiles() {
  const here = (/** @type {string} */ name) => fileURLToPath(new URL(name, import.meta.url))
  return [
    { path: '/init', from: here('init.sh'), mode: 0o755 },
    ...['agent.mjs', 'frames.mjs'].map((name) => ({ path: join(AGENT_FOLDER, name), from: here(name) })),
    { path: '/usr/bin/env', target: 'busybox' },
    { path: '/var/run', target: '/run' },
    {
      path: '/etc/passwd',
      data: 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n',
    },
    { path: '/etc/group', data: 'root:x:0:\nnogroup:x:65534:\n' },
    { path: '/etc/hosts', data: '127.0.0.1 localhost\n::1 localhost\n' },
    { path: '/etc/mtab', target: '/proc/mounts' },
  ]
}

/** @param {GuestFile} file @returns {import('./cpio.mjs').Entry[]} */
function given({ from, to }) {
  if (!statSync(from).isDirectory()) return [{ path: to.endsWith('/') ? join(to, basename(from)) : to, from }]
  return [{ path: to }, ...entriesBelow(from, to)]
}
