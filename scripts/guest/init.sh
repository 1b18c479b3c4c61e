#!/bin/sh
# Process 1 of the guest. It waits for the agent, and takes up orphans meanwhile.
export PATH=/usr/local/bin:/usr/bin:/usr/sbin:/usr/local/busybox HOME=/root LANG=C.UTF-8 TERM=dumb
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm /dev/hugepages /sys/kernel/debug
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mount -t debugfs debugfs /sys/kernel/debug
mount -t cgroup2 cgroup2 /sys/fs/cgroup
[ "$(cat /proc/sys/vm/nr_hugepages)" = 0 ] || mount -t hugetlbfs hugetlbfs /dev/hugepages
mkdir -p /run/netns /tmp/coverage
ip link set lo up
modprobe -a virtio_pci virtio_console
# The port appears a moment after its driver.
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  [ -n "$(ls /sys/class/virtio-ports)" ] && break
  sleep 0.05
done
node /usr/lib/guest-agent/agent.mjs &
wait $!
status=$?
[ $status = 0 ] || echo "guest: the agent has ended with status $status"
umount -a -r 2>/dev/null
busybox poweroff -f
