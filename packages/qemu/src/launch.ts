import { close, memfdCreate, socketPair, write } from '@virtio-ts/native'
import { parkingBios } from './bios.ts'
import type { DeviceOption } from './device-option.ts'
import { IvshmemVectors } from './ivshmem-vectors.ts'
import { ivshmemVectors, qemuArguments, ramLayout } from './qemu-arguments.ts'
import type { QemuBenchOptions } from './qemu-bench-options.ts'
import { QemuError } from './qemu-error.ts'
import { describeExit, lastWords, QemuProcess } from './qemu-process.ts'
import { Qmp } from './qmp.ts'
import type { QemuVersion } from './qmp-client.ts'
import { Qtest } from './qtest.ts'
import { Ram } from './ram.ts'
import { streamsConnected } from './stream-connection.ts'
import { StreamPeer } from './stream-peer.ts'

/** The first version with `-netdev stream` and `x-query-virtio`. */
const OLDEST = { major: 7, minor: 2 } as const

/** A QEMU that has answered on all its channels, and what this process holds of it. */
export interface LaunchedQemu {
  readonly process: QemuProcess
  readonly qtest: Qtest
  readonly qmp: Qmp
  readonly ram: Ram
  readonly vectors: IvshmemVectors | undefined
  /** Closes what this process holds; QEMU must have ended. */
  release(): void
}

/** @throws QemuError; TypeError or RangeError for options that make no sense; SystemError when this process is out of something */
export async function launch(options: QemuBenchOptions, devices: readonly DeviceOption[]): Promise<LaunchedQemu> {
  options.signal?.throwIfAborted()
  const qemu = spawn(options, devices)
  try {
    await answering(qemu, options)
    return qemu
  } catch (error) {
    qemu.process.kill()
    await qemu.process.exited
    const closed = new QemuError('qemu.closed', 'QEMU was not started')
    qemu.qtest.close(closed)
    qemu.qmp.close(closed)
    qemu.release()
    throw error
  }
}

function spawn(options: QemuBenchOptions, devices: readonly DeviceOption[]): LaunchedQemu {
  const args = qemuArguments(options, devices)
  /** Undone, the last first, when something fails. */
  const ours: (() => void)[] = []
  /** Closed in any case: QEMU has copies. */
  const childs: (() => void)[] = []
  const pair = (): { readonly fd: number; readonly childFd: number } => {
    const [fd, childFd] = socketPair()
    childs.push(() => close(childFd))
    return { fd, childFd }
  }
  const peers = peersOf(options)
  for (const peer of peers) childs.push(() => peer.releaseChildFd())
  try {
    const ram = new Ram(ramLayout(options))
    ours.push(() => ram.close())
    const limit = ivshmemVectors(options)
    const vectors = limit === 0 ? undefined : new IvshmemVectors(limit)
    if (vectors !== undefined) {
      ours.push(() => vectors.close())
      childs.push(() => close(vectors.childFd))
    }
    const bios = memfdCreate('virtio-ts-bios')
    childs.push(() => close(bios))
    write(bios, parkingBios())
    const qtestPair = pair()
    ours.push(() => close(qtestPair.fd))
    const qmpPair = pair()
    const { userNetworkNamespace: namespace = false } = options
    let process: QemuProcess
    try {
      process = QemuProcess.spawn({
        binary: options.binary ?? globalThis.process.env['VIRTIO_TS_QEMU'] ?? 'qemu-system-x86_64',
        args,
        fds: [
          qtestPair.childFd,
          qmpPair.childFd,
          ram.fd,
          bios,
          vectors?.childFd,
          ...peers.map(({ childFd }) => childFd),
        ],
        namespaceScript: namespace === false ? undefined : namespace === true ? '' : namespace,
      })
    } catch (error) {
      close(qmpPair.fd)
      throw error
    }
    const qtest = new Qtest(qtestPair.fd, { replyTimeout: options.replyTimeout, record: options.record })
    const qmp = new Qmp(qmpPair.fd)
    return { process, qtest, qmp, ram, vectors, release: () => undo(ours) }
  } catch (error) {
    undo(ours)
    throw error
  } finally {
    undo(childs)
  }
}

function peersOf(options: QemuBenchOptions): StreamPeer[] {
  return (options.netdevs ?? []).filter((netdev) => netdev instanceof StreamPeer)
}

function undo(actions: (() => void)[]): void {
  for (let action = actions.pop(); action !== undefined; action = actions.pop()) action()
}

/** Waits until QEMU has made all its devices, and answers on all channels. */
async function answering({ process, qtest, qmp }: LaunchedQemu, options: QemuBenchOptions): Promise<void> {
  const { startTimeout = 30_000 } = options
  const late = AbortSignal.timeout(startTimeout)
  const signal = options.signal === undefined ? late : AbortSignal.any([options.signal, late])
  const wait = { timeout: startTimeout, signal }
  try {
    const givenUp = new Promise((resolve) => signal.addEventListener('abort', resolve))
    await Promise.race([qtest.ready(), process.exited, givenUp])
    signal.throwIfAborted()
    // A closed connection comes before the end that it announces.
    if (qtest.broken !== undefined || process.ended) throw startFailure(process, await process.exited)
    await qmp.negotiate(wait)
    checkVersion(qmp.version)
    const streams = peersOf(options).map(({ id }) => id)
    await streamsConnected(qmp, streams, wait)
  } catch (error) {
    if (error === late.reason) {
      const message = `QEMU has not become ready within ${startTimeout} ms: raise \`startTimeout\` if the machine is slow. `
      throw new QemuError('qemu.start-failed', message + lastWords(process.stderr), { cause: error })
    }
    if (error instanceof QemuError && error.code === 'qemu.exited') throw startFailure(process, await process.exited)
    throw error
  }
}

/** @throws QemuError `qemu.version` when it lacks what a bench needs */
export function checkVersion({ major, minor, micro }: QemuVersion): void {
  if (major > OLDEST.major || (major === OLDEST.major && minor >= OLDEST.minor)) return
  const message =
    `QEMU ${major}.${minor}.${micro} is too old: install ${OLDEST.major}.${OLDEST.minor} or newer, or name another binary ` +
    'with the option `binary` or VIRTIO_TS_QEMU'
  throw new QemuError('qemu.version', message)
}

function startFailure(process: QemuProcess, exit: Awaited<QemuProcess['exited']>): QemuError {
  const words = lastWords(process.stderr)
  const remedy = /not a valid device model name/.test(words)
    ? '. `qemu-system-x86_64 -device help` lists the names; some need a package of modules, e.g. qemu-system-modules-opengl'
    : /^unshare:/m.test(words)
      ? '. Unprivileged user namespaces seem to be forbidden here: run as root, or use another kind of netdev'
      : ''
  const said = words === '' ? 'It said nothing' : `It said: ${words}`
  return new QemuError('qemu.start-failed', `QEMU ended ${describeExit(exit)} while starting. ${said}${remedy}`)
}
