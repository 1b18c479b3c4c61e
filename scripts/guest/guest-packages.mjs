// @ts-check
// What the guest is made of: Debian packages, the programs taken from them, and the kernel's modules.

/** A part of the image: packages, and the programs that are taken from them (by name). */
/** @typedef {{ packages: readonly string[], programs: readonly string[] }} Part */

/** The package that depends on the newest kernel: Debian's, else Ubuntu's. Debian's cloud kernel has no e1000. */
export const KERNELS = ['linux-image-amd64', 'linux-image-virtual']

/** Always there. */
export const BASE = /** @satisfies {Part} */ ({
  packages: [
    ...['libc6', 'libgcc-s1', 'libstdc++6'], // node's
    ...['dash', 'busybox-static', 'kmod', 'util-linux', 'coreutils'],
    ...['iproute2', 'iputils-ping', 'iperf3', 'ethtool', 'tcpdump', 'pciutils'],
  ],
  programs: [
    ...['dash', 'busybox', 'kmod', 'setpriv', 'unshare', 'nsenter', 'taskset', 'prlimit', 'lsblk', 'blockdev'],
    ...['dd', 'timeout', 'stat', 'ip', 'bridge', 'tc', 'ss', 'nstat'],
    ...['ping', 'iperf3', 'ethtool', 'tcpdump', 'lspci', 'setpci'],
  ],
})

/** With the option `parts: ['block']`: fio brings 60 MB of libraries along. */
export const BLOCK = /** @satisfies {Part} */ ({
  packages: ['fio', 'e2fsprogs', 'mount'],
  programs: ['fio', 'mke2fs', 'e2fsck', 'tune2fs', 'dumpe2fs', 'mount', 'umount'],
})

/** Other names of the programs. */
export const LINKS = /** @type {const} */ ({
  'lib64/ld-linux-x86-64.so.2': '../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2',
  'bin/sh': 'dash',
  'sbin/modprobe': '../bin/kmod',
  'sbin/rmmod': '../bin/kmod',
  'sbin/insmod': '../bin/kmod',
  'sbin/lsmod': '../bin/kmod',
  'sbin/modinfo': '../bin/kmod',
  'sbin/depmod': '../bin/kmod',
})

/** Other names of the block part's programs. */
export const BLOCK_LINKS = /** @type {const} */ ({
  'sbin/mkfs.ext4': 'mke2fs',
  'sbin/fsck.ext4': 'e2fsck',
})

/** Modules the image has; those they need come along. One that the kernel has built in, or lacks, is left out. */
export const MODULES = [
  ...['vfio', 'vfio_pci', 'vfio_iommu_type1', 'vfio_virqfd', 'uio', 'uio_pci_generic', 'pci_stub'],
  ...['virtio_pci', 'virtio_net', 'virtio_blk', 'virtio_scsi', 'virtio_console', 'virtio_balloon', 'virtio_rng'],
  ...['virtio_input', 'virtio_crypto', 'virtiofs', '9p', '9pnet_virtio', 'net_failover', 'failover'],
  ...[
    'e1000',
    'e1000e',
    'tun',
    'tap',
    'veth',
    'bridge',
    'dummy',
    'macvtap',
    'vhost_net',
    'af_packet',
    'pktgen',
    '8021q',
  ],
  ...['ext4', 'jbd2', 'mbcache', 'crc32c_generic', 'crc32c_intel', 'loop', 'nbd', 'sd_mod', 'cdrom', 'evdev'],
  ...['sch_netem', 'sch_fq', 'sch_ingress', 'act_mirred', 'cls_u32', 'cls_matchall', 'ipv6'],
]
