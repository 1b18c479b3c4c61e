// @ts-check
// Two NICs of one QEMU on one hub: what one transmits the other receives.
import { NetDriver } from '@virtio-ts/driver-net'
import { QemuBench } from '@virtio-ts/qemu'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { alternate } from './report.mjs'

const window = 1000
const batch = 64
const frameLength = 64

/** Name of the case and what its devices are told. */
const rings = [
  ['split', ''],
  ['split without EVENT_IDX', ',event_idx=off'],
  ['packed', ',packed=on,event_idx=off'],
]

export async function* run() {
  for (const [ring, properties] of rings) {
    const bench = await QemuBench.start({
      devices: [`virtio-net-pci,netdev=n0${properties}`, `virtio-net-pci,netdev=n1${properties}`],
      netdevs: ['hubport,id=n0,hubid=0', 'hubport,id=n1,hubid=0'],
    })
    try {
      yield await alternate(
        `${ring}, ${frameLength} B`,
        'frames/s',
        5,
        () => measure(bench, false),
        () => measure(bench, true),
      )
    } finally {
      await bench.close()
    }
  }
}

/** @param {QemuBench} bench @param {boolean} polled @returns {Promise<number>} frames received a second */
async function measure(bench, polled) {
  const options = { interrupts: /** @type {'none' | 'auto'} */ (polled ? 'none' : 'auto') }
  const from = await NetDriver.open(await VirtioPciDriver.attach(bench.function(0)), options)
  const to = await NetDriver.open(await VirtioPciDriver.attach(bench.function(1)), options)
  const frame = Uint8Array.of(...to.mac, ...from.mac, 0x88, 0xb5, ...new Uint8Array(frameLength - 14))
  let received = 0
  const sink = () => {
    received++
  }
  const fill = () => {
    let slot = 0
    let committed = 0
    while (committed < batch && (slot = from.reserve(frameLength)) >= 0) {
      from.bytes.set(frame, from.frameOffset(slot))
      from.commit(slot, frameLength)
      committed++
    }
    if (committed > 0) from.publish()
    return slot >= 0
  }
  const seconds = polled ? pollBoth(from, to, fill, sink) : await waitForBoth(from, to, fill, sink)
  const rate = received / seconds
  await from.close()
  await to.close()
  return rate
}

/** @param {NetDriver} from @param {NetDriver} to @param {() => boolean} fill @param {() => void} sink */
function pollBoth(from, to, fill, sink) {
  const start = performance.now()
  while (performance.now() - start < window) {
    fill()
    from.poll()
    to.receive(sink, batch)
    to.poll()
  }
  return (performance.now() - start) / 1000
}

/** @param {NetDriver} from @param {NetDriver} to @param {() => boolean} fill @param {() => void} sink @returns {Promise<number>} */
function waitForBoth(from, to, fill, sink) {
  const start = performance.now()
  return new Promise((resolve) => {
    const over = () => performance.now() - start >= window
    const transmit = () => {
      if (over()) resolve((performance.now() - start) / 1000)
      else if (fill()) setImmediate(transmit)
    }
    from.onTransmitSpace(transmit)
    to.onReceive(() => {
      do while (to.receive(sink, batch) > 0);
      while (to.armReceive())
    })
    to.armReceive()
    transmit()
  })
}
