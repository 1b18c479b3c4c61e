import type { Machine } from './machine.ts'

/** The part of a check's answer that depends on whether modprobe would find the module. */
export async function moduleAdvice(
  machine: Machine,
  module: string,
): Promise<{ readonly why: string; readonly fix: string }> {
  const { exitCode } = await machine.run('modprobe', ['--dry-run', '--quiet', module])
  if (exitCode === 0) return { why: `${module} is not loaded`, fix: `sudo modprobe ${module}` }
  return {
    why: `${module} is not loaded, and not among this kernel's modules`,
    fix: "install the kernel's modules (linux-modules-extra-$(uname -r) on Ubuntu); in a container, load it outside",
  }
}
