import { openCaptureOutput } from '../capture/open-capture-output.ts'
import { PcapngCapture } from '../capture/pcapng-capture.ts'
import { type CommandIo, printMessage } from '../command-line/command-io.ts'
import type { RunArguments } from '../command-line/run-arguments.ts'
import { ControlServer } from '../control/control-server.ts'
import { MetricsServer } from '../metrics/metrics-server.ts'
import { formatLocator } from '../locator.ts'
import { parseMac } from '../packets/ethernet-frame.ts'
import type { SessionWorker } from '../worker/session-worker.ts'

/** What lets others see a session: its control socket, and metrics and a capture where they were asked for. */
export interface SessionServices {
  close(): Promise<void>
}

/** @throws NetdError of whichever cannot be started; those before it are closed again */
export async function serveSession(
  session: SessionWorker,
  args: RunArguments,
  io: CommandIo,
): Promise<SessionServices> {
  const name = session.name
  const open: SessionServices[] = []
  const close = async (): Promise<void> => {
    await Promise.all(open.map((service) => service.close()))
  }
  try {
    open.push(await ControlServer.start({ name, observable: session }))
    if (args.metrics) open.push(await MetricsServer.start({ endpoint: args.metrics, name, observable: session }))
    if (args.capture) {
      const { net } = await session.describe()
      const output = await openCaptureOutput(args.capture, io.signal)
      const capture = new PcapngCapture(output, {
        interfaceName: name,
        description: formatLocator(args.locator),
        mac: parseMac(net.mac),
        onEnd: (failure) => {
          if (failure) printMessage(io, `the capture to ${args.capture} ended: ${failure.message}`)
        },
      })
      const detach = session.attachCapture(capture)
      open.push({
        close: () => {
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
