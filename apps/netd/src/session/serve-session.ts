import { type CommandIo, printMessage } from '@virtio-ts/command-line'
import { openCaptureOutput } from '../capture/open-capture-output.ts'
import { PcapngCapture } from '../capture/pcapng-capture.ts'
import { ControlServer } from '../control/control-server.ts'
import type { MetricsEndpoint } from '../metrics/metrics-endpoint.ts'
import { MetricsServer } from '../metrics/metrics-server.ts'
import { parseMac } from '../packets/ethernet-frame.ts'
import type { SessionWorker } from '../worker/session-worker.ts'

/** What lets others see a session: its control socket, and metrics and a capture where they were asked for. */
export interface SessionServices {
  close(): Promise<void>
}

export interface ServiceOptions {
  readonly metrics: MetricsEndpoint | undefined
  /** Path of a pcapng file or FIFO. */
  readonly capture: string | undefined
}

/** @throws CommandError of whichever cannot be started; those before it are closed again */
export async function serveSession(
  session: SessionWorker,
  options: ServiceOptions,
  io: CommandIo,
): Promise<SessionServices> {
  const name = session.name
  const open: SessionServices[] = []
  const close = async (): Promise<void> => {
    await Promise.all(open.map((service) => service.close()))
  }
  try {
    open.push(await ControlServer.start({ name, observable: session }))
    if (options.metrics) open.push(await MetricsServer.start({ endpoint: options.metrics, name, observable: session }))
    if (options.capture) {
      const { locator, net } = await session.describe()
      const output = await openCaptureOutput(options.capture, io.signal)
      const capture = new PcapngCapture(output, {
        interfaceName: name,
        description: locator,
        mac: parseMac(net.mac),
        onEnd: (failure) => {
          if (failure) printMessage(io, `the capture to ${options.capture} ended: ${failure.message}`)
        },
      })
      const detach = session.attachCapture(capture)
      open.push({
        close: async () => {
          // Packets seen until now are here when the answer is.
          await session.stats().catch(() => {})
          detach()
          return capture.close()
        },
      })
    }
    return { close }
  } catch (error) {
    await close()
    throw error
  }
}
