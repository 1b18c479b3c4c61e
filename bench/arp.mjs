// @ts-check
// "Who has 10.0.2.2?" asked of QEMU's user networking, one question after the other.
import { NetDriver } from '@virtio-ts/driver-net'
import { QemuBench } from '@virtio-ts/qemu'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { alternate, median } from './report.mjs'

const questions = 2000

export async function* run() {
  const bench = await QemuBench.start({ devices: ['virtio-net-pci,netdev=n0'], netdevs: ['user,id=n0'] })
  try {
    yield await alternate(
      'ARP round trip',
      'µs, median',
      5,
      () => measure(bench, false),
      () => measure(bench, true),
    )
  } finally {
    await bench.close()
  }
}

/** @param {QemuBench} bench @param {boolean} polled @returns {Promise<number>} median round trip in microseconds */
async function measure(bench, polled) {
  const net = await NetDriver.open(await VirtioPciDriver.attach(bench.function(0)), {
    interrupts: polled ? 'none' : 'auto',
  })
  const arp = Uint8Array.of(0, 1, 8, 0, 6, 4, 0, 1, ...net.mac, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2)
  const frame = Uint8Array.of(...new Uint8Array(6).fill(0xff), ...net.mac, 0x08, 0x06, ...arp, ...new Uint8Array(18))
  let answers = 0
  const sink = () => {
    answers++
  }
  /** @type {() => void} */ let wake = () => {}
  if (!polled) {
    net.onReceive(() => {
      do while (net.receive(sink, 64) > 0);
      while (net.armReceive())
      wake()
    })
    net.armReceive()
  }
  /** @type {number[]} */ const times = []
  for (let i = 0; i < questions; i++) {
    const start = performance.now()
    const seen = answers
    net.send(frame)
    while (answers === seen) {
      if (polled) net.receive(sink, 64)
      else await new Promise((resolve) => (wake = () => resolve(undefined)))
    }
    times.push((performance.now() - start) * 1000)
  }
  await net.close()
  return median(times)
}
