// @ts-check
// A packet answered with no interrupt and no turn of the event loop, as a debugger needs it: node examples/polled-answer.mjs
import { modelFunction, NetModel } from '@virtio-ts/device-models'
import { NetDriver } from '@virtio-ts/driver-net'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'

const model = new NetModel()
const net = await NetDriver.open(await VirtioPciDriver.attach(modelFunction(model)), { interrupts: 'none' })
model.onFrame((frame) => console.log('answer:', Buffer.from(frame.subarray(14)).toString()))

const question = new TextEncoder().encode('is anybody there?')
model.deliver(Uint8Array.of(...net.mac, ...net.mac, 0x88, 0xb5, ...question))

// From here to the end nothing is awaited.
while (
  net.receive((packet) => {
    const frame = packet.toFrame()
    net.send(Uint8Array.of(...frame.subarray(6, 12), ...net.mac, 0x88, 0xb5, ...new TextEncoder().encode('yes')))
  }, 1) === 0
)
  net.poll()

await net.close()
