import { parentPort, workerData } from 'node:worker_threads'
import { type OpenedDevice, openDevice, parseLocator } from '@virtio-ts/device-locator'
import { BridgeSession } from '../session/bridge-session.ts'
import { hostFunctionUser } from '../session/host-function-user.ts'
import type { HostedSession } from '../session/hosted-session.ts'
import { NetSession } from '../session/net-session.ts'
import { netDevice, type VhostUserNet } from '../session/net-device.ts'
import type { SessionEvent } from '../session/session-event.ts'
import type { DataPlaneOrder, DataPlaneReport, SessionRequest } from './data-plane-messages.ts'
import { FrameSender } from './frame-sender.ts'
import { portableError } from './portable-error.ts'

/*
 * The data plane's thread: it owns the device, the driver and the TAP, and moves the frames. Everything else - signals, the control
 * socket, metrics, captures' files - is the main thread's, which talks to it in messages. What is thrown here and caught by nobody
 * ends the program: the main thread is told, and does it. (Ended by its own error, a thread that watches descriptors may abort the
 * process instead: see `exitNow` of native.)
 */

if (parentPort === null) throw new Error('this file is the main module of a worker thread')
const port = parentPort
const stop = new AbortController()

function report(message: DataPlaneReport, transfer: readonly ArrayBuffer[] = []): void {
  port.postMessage(message, [...transfer])
}

function openSession(request: SessionRequest): Promise<HostedSession> {
  const onEvent = (event: SessionEvent): void => report({ report: 'event', event })
  const open = (text: string, net: VhostUserNet = {}): Promise<OpenedDevice> => {
    const locator = parseLocator(text)
    if (locator.scheme === 'vhost-user' && locator.server)
      onEvent({ event: 'notice', message: `waiting for a vhost-user back-end to connect to ${locator.path}` })
    const user = hostFunctionUser(request.options, (message) => onEvent({ event: 'notice', message }))
    return openDevice(netDevice(net, user), locator, stop.signal)
  }
  if (request.kind === 'bridge') {
    const { options } = request
    return BridgeSession.open(options, (index) => open(options.locators[index]), onEvent, stop.signal)
  }
  const { options } = request
  return NetSession.open(options, () => open(options.locator, options), onEvent, stop.signal)
}

async function answer(session: HostedSession, id: number, about: 'describe' | 'stats'): Promise<void> {
  try {
    if (about === 'stats') await session.refresh()
    report({ report: 'answer', id, result: about === 'describe' ? session.describe() : session.stats() })
  } catch (error) {
    report({ report: 'refusal', id, error: portableError(error) })
  }
}

function serve(session: HostedSession): void {
  const sender = new FrameSender((batch, dropped) => report({ report: 'frames', batch, dropped }, [batch.buffer]))
  let detach: (() => void) | undefined
  port.on('message', (order: DataPlaneOrder) => {
    if (order.order === 'ask') {
      sender.flush()
      void answer(session, order.id, order.about)
    }
    if (order.order === 'frames-taken') sender.taken(order.bytes)
    if (order.order === 'capture') {
      detach?.()
      detach = order.on ? session.attachCapture(sender) : undefined
    }
  })
}

process.on('uncaughtException', (error) => report({ report: 'crashed', error: portableError(error) }))

async function run(): Promise<void> {
  port.on('message', ({ order }: DataPlaneOrder) => {
    if (order === 'stop') stop.abort()
  })
  const stopped = new Promise((resolve) => stop.signal.addEventListener('abort', resolve, { once: true }))
  const session = await openSession(workerData as SessionRequest)
  serve(session)
  report({ report: 'opened', name: session.name, description: session.describe() })
  void session.ended.then((reason) => report({ report: 'ended', reason: portableError(reason) }))
  await stopped
  try {
    await session.stop()
    report({ report: 'stopped' })
  } catch (error) {
    report({ report: 'stopped', error: portableError(error) })
  }
}

run().then(
  () => port.close(),
  (error: unknown) => {
    report({ report: 'failed', error: portableError(error) })
    port.close()
  },
)
