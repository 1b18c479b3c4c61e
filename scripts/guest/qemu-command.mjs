// @ts-check
import { accelerator } from './accelerator.mjs'

/** Descriptors QEMU is started with. */
export const ChildFd = /** @type {const} */ ({ QMP: 3, AGENT: 4, INITRD: 5 })

/** PCI slot of the harness's own device (virtio-serial): 00:1e.0. Tests leave it alone. */
export const AGENT_SLOT = '0x1e'

/**
 * @typedef {object} MachineOptions
 * @property {readonly string[]} [qemuArguments] devices, netdevs, drives ... as on QEMU's command line
 * @property {'q35' | 'pc'} [machine] `q35` when left out
 * @property {number} [memoryMegabytes] 768 when left out (1024 with parts), and what `hugepages` take on top of it
 * @property {number} [processors] 2 when left out
 * @property {boolean} [iommu] with an Intel IOMMU that the kernel uses, interrupts remapped; q35 only
 * @property {boolean} [sharedMemory] memory that vhost-user back-ends can map
 * @property {number} [hugepages] of 2 MiB, reserved at boot and mounted on /dev/hugepages
 * @property {string} [kernelArguments] added to the kernel's command line
 */

/**
 * @param {MachineOptions} options @param {string} kernel @param {number} megabytes of memory besides huge pages
 * @returns {string[]}
 */
export function qemuCommand(options, kernel, megabytes) {
  const { machine = 'q35', iommu = false, sharedMemory = false, hugepages = 0, processors = 2 } = options
  const kvm = accelerator() === 'kvm'
  const machineOptions = [
    machine,
    ...(iommu ? ['kernel-irqchip=split'] : []),
    ...(sharedMemory ? ['memory-backend=ram'] : []),
  ]
  const memory = `${megabytes + 2 * hugepages}M`
  const kernelArguments = [
    ...['console=ttyS0', 'rdinit=/init', 'panic=-1', 'oops=panic', 'loglevel=5', 'intel_iommu=on'],
    // On a busy machine TCG's timer is late at times, and the kernel would panic over it. Memory is fresh anyway.
    ...['no_timer_check', 'random.trust_cpu=on', 'init_on_alloc=0'],
    ...(hugepages > 0 ? [`hugepages=${hugepages}`] : []),
    ...(options.kernelArguments === undefined ? [] : [options.kernelArguments]),
  ]
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...['-machine', machineOptions.join(','), '-m', memory, '-smp', String(processors)],
    // Four page table levels: TCG has five, which cost time.
    ...(kvm ? ['-accel', 'kvm', '-cpu', 'host'] : ['-accel', 'tcg,thread=multi', '-cpu', 'max,la57=off']),
    ...(sharedMemory ? ['-object', `memory-backend-memfd,id=ram,size=${memory},share=on`] : []),
    ...(iommu ? ['-device', 'intel-iommu,intremap=on'] : []),
    ...['-kernel', kernel, '-initrd', `/proc/self/fd/${ChildFd.INITRD}`, '-append', kernelArguments.join(' ')],
    ...['-chardev', 'stdio,id=console,signal=off', '-serial', 'chardev:console'],
    ...['-chardev', `socket,id=qmp,fd=${ChildFd.QMP}`, '-mon', 'chardev=qmp,mode=control'],
    ...['-device', `virtio-serial-pci,id=agent-bus,addr=${AGENT_SLOT},max_ports=2`],
    ...['-chardev', `socket,id=agent,fd=${ChildFd.AGENT}`],
    ...['-device', 'virtserialport,bus=agent-bus.0,chardev=agent,name=virtio-ts.agent'],
    ...(options.qemuArguments ?? []),
  ]
}
