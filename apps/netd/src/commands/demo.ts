import { type CommandIo, ExitCode, printJson, printLine } from '@virtio-ts/command-line'
import { NetDriver } from '@virtio-ts/driver-net'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { arpQuestion, pingQuestions, udpQuestions } from '../demo/questions.ts'
import { renderDemo } from '../demo/render-demo.ts'
import { askByInterrupt, askByPolling, type RoundTrips } from '../demo/round-trips.ts'
import type { DemoResult } from '../demo/demo-result.ts'
import { parseMac } from '../packets/ethernet-frame.ts'
import type { Ends } from '../packets/ipv4-packet.ts'
import { describePort } from '../session/describe-port.ts'
import { type OpenModel, openModel } from '../session/open-model.ts'

const locator = 'model:net,profile=strict'
const questions = 100

/** `netd demo`: the whole stack in this process, on a software device that judges every step of the driver. */
export async function demo({ json }: { readonly json: boolean }, io: CommandIo): Promise<number> {
  const device = await openModel({ profile: 'strict' })
  try {
    const result = await converse(device)
    if (json) await printJson(io, result)
    else await printLine(io, renderDemo(result, { color: io.color }))
    return result.ok ? ExitCode.OK : ExitCode.ERROR
  } finally {
    await device.release()
  }
}

async function converse(device: OpenModel): Promise<DemoResult> {
  const roundTrips: RoundTrips[] = []
  const driver = await NetDriver.open(await VirtioPciDriver.attach(device.fn))
  const description = describePort(locator, 'running', device.identity, driver)
  const ends = endsOf(driver, device)
  roundTrips.push(await askByInterrupt(driver, 'ARP', [arpQuestion(ends)]))
  roundTrips.push(await askByInterrupt(driver, 'ping, 0 to 1472 bytes', pingQuestions(ends, questions)))
  const offload = driver.offloads.transmit.checksum
  roundTrips.push(
    await askByInterrupt(
      driver,
      offload ? 'UDP, checksum left to the device' : 'UDP',
      udpQuestions(ends, questions, offload),
    ),
  )
  const counters = driver.stats()
  await driver.close()

  const polled = await NetDriver.open(await VirtioPciDriver.attach(device.fn), { interrupts: 'none' })
  roundTrips.push(
    askByPolling(polled, 'ping, polled with the event loop blocked', pingQuestions(endsOf(polled, device), questions)),
  )
  await polled.close()

  const violations = device.fn.violations.map(
    ({ section, title, text }) => `VIRTIO 1.3 § ${section} "${title}": ${text}`,
  )
  const leakedBytes = device.fn.dma.stats.allocatedBytes
  const ok = roundTrips.every(({ sent, answered }) => sent === answered) && violations.length === 0 && leakedBytes === 0
  return { ok, device: description, roundTrips, counters, violations, leakedBytes }
}

function endsOf(driver: NetDriver, { peer }: OpenModel): Ends {
  return {
    fromMac: driver.mac,
    fromIp: Uint8Array.of(10, 0, 0, 2),
    toMac: parseMac(peer.mac),
    toIp: Uint8Array.from(peer.address.split('.'), Number),
  }
}
