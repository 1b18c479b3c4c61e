// @ts-check
// A Linux guest that runs commands for tests and benchmarks: see docs/guest.md.
import { closeSync } from 'node:fs'
import { Guest } from './guest.mjs'
import { GuestMachine } from './guest-machine.mjs'
import { makeInitrd } from './initrd.mjs'
import { qemuCommand } from './qemu-command.mjs'

export { Guest } from './guest.mjs'
export { GuestError } from './guest-error.mjs'
export { GuestProcess } from './guest-process.mjs'

/**
 * @typedef {import('./qemu-command.mjs').MachineOptions & {
 *   parts?: readonly import('./initrd.mjs').Part[],
 *   files?: readonly import('./initrd.mjs').GuestFile[],
 *   networkNamespace?: string | undefined,
 *   timeoutSeconds?: number,
 *   signal?: AbortSignal | undefined,
 * }} GuestOptions `timeoutSeconds`: after these, from the start on, the guest is killed (300 when left out), and so it is when `signal` is aborted
 */

/**
 * Starts a guest and waits until it takes commands: 3-5 s without KVM, and 30 s more where the image is still to be made.
 * @param {GuestOptions} [options]
 * @returns {Promise<Guest>}
 * @throws GuestError `guest.missing`, `guest.not-built`, `guest.image`, `guest.boot`, `guest.timeout`; `guest.closed` when the signal is aborted
 */
export async function bootGuest(options = {}) {
  const { parts = [], files = [], timeoutSeconds = 300, signal, networkNamespace } = options
  signal?.throwIfAborted()
  const { kernel, initrd } = makeInitrd(parts, files)
  let machine
  try {
    const megabytes = options.memoryMegabytes ?? (parts.length > 0 ? 1024 : 768)
    machine = new GuestMachine(qemuCommand(options, kernel, megabytes), initrd, networkNamespace)
  } finally {
    closeSync(initrd)
  }
  const guest = new Guest(machine, timeoutSeconds, signal)
  await guest.ready()
  return guest
}
