import { type Check, fail, pass, warn } from './check.ts'

/** Oldest Node.js that netd runs on. */
const minNode: readonly [number, number] = [20, 19]
/** Oldest QEMU that the bench was tried with. */
const minQemu = 7

export const platformCheck: Check = ({ platform, arch }) => {
  if (platform !== 'linux')
    return fail(
      'platform',
      `${platform} has no TAP interfaces as netd needs them`,
      'run netd on Linux, in a virtual machine if need be',
    )
  if (arch !== 'x64' && arch !== 'arm64')
    return warn('platform', `Linux on ${arch} was never tried`, 'x64 and arm64 are supported')
  return pass('platform', `Linux on ${arch}`)
}

export const nodeCheck: Check = ({ nodeVersion }) => {
  const [major = 0, minor = 0] = nodeVersion.split('.').map(Number)
  if (major > minNode[0] || (major === minNode[0] && minor >= minNode[1])) return pass('node', `Node.js ${nodeVersion}`)
  return fail(
    'node',
    `Node.js ${nodeVersion} is too old: netd needs ${minNode.join('.')}`,
    'install a newer Node.js, https://nodejs.org',
  )
}

export const nativeCheck: Check = async (machine) => {
  try {
    await machine.tryNative()
    return pass('koffi', 'koffi loads, system calls work')
  } catch (error) {
    const reason = (error instanceof Error ? error.message : String(error)).split('\n')[0]
    return fail(
      'koffi',
      `the native layer (koffi) does not load: ${reason}`,
      'npm install --include=optional   (koffi brings its binary in an optional package)',
    )
  }
}

export const qemuCheck: Check = async (machine) => {
  const program = machine.env['VIRTIO_TS_QEMU'] || 'qemu-system-x86_64'
  const { exitCode, output } = await machine.run(program, ['--version'])
  const version = /version (\d+)\.(\d+)(?:\.(\d+))?/.exec(output)
  const install = 'sudo apt-get install qemu-system-x86   (or point VIRTIO_TS_QEMU to a binary)'
  if (exitCode === undefined) return warn('qemu', `${program} is not there: qemu: devices cannot be used`, install)
  if (exitCode !== 0 || !version)
    return warn('qemu', `${program} does not tell its version: qemu: devices may not work`, install)
  const text = version[0].slice('version '.length)
  if (Number(version[1]) < minQemu)
    return warn('qemu', `QEMU ${text} is older than ${minQemu}.0: qemu: devices may not work`, install)
  return pass('qemu', `QEMU ${text}`)
}
