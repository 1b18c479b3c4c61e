import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  NetModel,
  type NetModelOptions,
  VhostUserBackEnd,
  type VhostUserMoments,
  type VhostUserOptions as BackEndOptions,
  type VhostUserProfile,
} from '@virtio-ts/device-models'
import { NetDriver } from '@virtio-ts/driver-net'
import { openFdCount } from '@virtio-ts/native'
import { DeviceType, isVirtioError } from '@virtio-ts/spec'
import { VhostUserEndpoint, type VhostUserTransport } from '@virtio-ts/transport-vhost-user'

/** A frame to everybody. */
export const frame: Uint8Array = Uint8Array.from({ length: 64 }, (_, n) => (n < 6 ? 0xff : n & 0xff))

const SMALL = { length: 16 * 1024 * 1024 }
/** Milliseconds; a back-end that says nothing costs that much. */
const TIMEOUT = 300

/** Gives the event loop turns until it is so. */
export async function until(condition: () => boolean, what: string, timeout = 5000): Promise<void> {
  const deadline = Date.now() + timeout
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited in vain until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}

/** What a front-end sent and was answered in one session. */
export interface Recording {
  /** Requests in order. */
  readonly requests: number[]
  /** Those of them that were answered. */
  readonly answered: number[]
  read: number
  sent: number
}

/** A well-behaved back-end that writes down what is said. */
export function recorder(): VhostUserProfile & { readonly recording: Recording } {
  const recording: Recording = { requests: [], answered: [], read: 0, sent: 0 }
  return {
    name: 'recorder',
    recording,
    on(point, moment) {
      if (point === 'request') {
        const { request, payload } = moment as VhostUserMoments['request']
        recording.requests.push(request)
        recording.read += 12 + payload.length
      }
      if (point === 'reply') {
        const { request, message } = moment as VhostUserMoments['reply']
        recording.answered.push(request)
        recording.sent += message.length
      }
    },
  }
}

/** A place with back-ends that come and go, and a front-end that uses them. */
export class HostileBench {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'virtio-ts-hostile-'))
  readonly path: string = join(this.folder, 'socket')
  readonly before: number = openFdCount()
  #backEnd: VhostUserBackEnd<NetModel> | undefined

  /** Has a back-end listen, in place of the one that did. */
  serve(options: BackEndOptions = {}, model: NetModelOptions = {}): VhostUserBackEnd<NetModel> {
    this.#backEnd?.close()
    this.#backEnd = VhostUserBackEnd.serve(new NetModel({ promiscuous: true, ...model }), {
      path: this.path,
      ...options,
    })
    return this.#backEnd
  }

  endpoint(timeout: number = TIMEOUT): VhostUserEndpoint {
    return new VhostUserEndpoint({ path: this.path, deviceType: DeviceType.NETWORK, memory: SMALL, timeout })
  }

  async connect(timeout?: number): Promise<VhostUserTransport> {
    const endpoint = this.endpoint(timeout)
    try {
      return await endpoint.connect()
    } finally {
      await endpoint.close()
    }
  }

  /**
   * A whole life: connect, initialise, a frame in each direction, close.
   * @throws what went wrong first
   */
  async live(): Promise<void> {
    const transport = await this.connect()
    let driver: NetDriver
    try {
      driver = await NetDriver.open(transport, { controlTimeout: TIMEOUT })
    } catch (error) {
      await transport.close()
      throw error
    }
    const model = this.#backEnd?.model
    let sent = 0
    let received = 0
    const faults: Error[] = []
    const failed = (): boolean => faults.length > 0
    model?.onFrame(() => sent++)
    driver.on('fault', (reason) => faults.push(reason))
    driver.onReceive(() => {
      while (driver.receive(() => received++, 64) > 0);
      driver.armReceive()
    })
    driver.armReceive()
    try {
      driver.send(frame)
      await until(() => failed() || sent === 1, 'a frame went out')
      if (failed()) throw faults[0] as Error
      model?.deliver(frame)
      await until(() => failed() || received === 1, 'a frame came in')
      if (failed()) throw faults[0] as Error
    } catch (error) {
      await driver.close().catch(() => {})
      throw error
    }
    await driver.close()
  }

  /** `live`, or the code of the error that ended it; anything but a VirtioError is thrown. */
  async outcome(): Promise<string> {
    try {
      await this.live()
      return 'fine'
    } catch (error) {
      if (!isVirtioError(error)) throw error
      return error.code
    }
  }

  /** Descriptors open now and not before. */
  async leaked(): Promise<number> {
    this.#backEnd?.close()
    this.#backEnd = undefined
    await new Promise((resolve) => setTimeout(resolve, 20))
    return openFdCount() - this.before
  }

  close(): void {
    this.#backEnd?.close()
    rmSync(this.folder, { recursive: true, force: true })
  }
}
