// @ts-check

/** What the kernel says when something is wrong with it, or with a device's access to memory. */
const KERNEL =
  /DMAR:.*fault|\bOops:|\bBUG:|\bWARNING:|Kernel panic|general protection|hung task|blocked for more than|rcu:.*(stall|starved)|unable to handle|Bad page|refcount_t:|irq \d+: nobody cared|AER:.*error/

/** QEMU's warnings and hints; all the rest it says is about something a device was made to do. */
const HARMLESS = /: (warning|info): |^\s*$|terminating on signal/

/** Lines of the guest's console that tell of a fault. @param {string} console @returns {string[]} */
export function kernelComplaints(console) {
  return lines(console).filter((line) => KERNEL.test(line))
}

/** Lines of QEMU's stderr that tell of a fault, such as a device that used an address it may not. @param {string} stderr @returns {string[]} */
export function qemuComplaints(stderr) {
  return lines(stderr).filter((line) => !HARMLESS.test(line))
}

/** @param {string} text */
function lines(text) {
  return text.split(/\r?\n/)
}
