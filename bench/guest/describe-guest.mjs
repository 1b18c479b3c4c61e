// @ts-check
/**
 * One line about a guest: what its figures depend on.
 * @param {import('../../scripts/guest/linux-guest.mjs').Guest} guest @param {string} [more] words of the shell's `echo` for the end of the line
 * @returns {Promise<string>}
 */
export async function describeGuest(guest, more = '') {
  const { enabled } = /** @type {any} */ (await guest.qmp.execute('query-kvm'))
  const { qemu } = /** @type {any} */ (await guest.qmp.execute('query-version'))
  const script = `echo "Linux $(uname -r), Node $(node --version)${more}"`
  const { stdout } = await guest.run(['sh', '-euc', script])
  return `guest: ${enabled ? 'KVM' : 'TCG'}, QEMU ${qemu.major}.${qemu.minor}.${qemu.micro}, ${stdout.trim()}`
}
