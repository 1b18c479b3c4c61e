import { type ChildProcess, spawn } from 'node:child_process'
import { findExecutable } from './find-executable.ts'
import { QemuError } from './qemu-error.ts'
import { TextTail } from './text-tail.ts'

const STDERR_LIMIT = 16 * 1024
/** How long after QEMU's end to wait for the rest of its stderr, which a child of its own might hold open. */
const STDERR_GRACE_MS = 50

export interface QemuProcessOptions {
  readonly binary: string
  readonly args: readonly string[]
  /** Descriptors that become the child's 3, 4, 5 ...; undefined leaves one out. They stay open here. */
  readonly fds: readonly (number | undefined)[]
  /** Run in a user and network namespace of its own, after this script. */
  readonly namespaceScript?: string | undefined
}

/** Killed when this process exits in order: for machines without setpriv. */
const running = new Set<QemuProcess>()
process.on('exit', () => {
  for (const qemu of running) qemu.kill()
})

/** How QEMU ended. */
export interface QemuExit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/**
 * One QEMU process, tied to this one: the kernel kills it when the thread that started it ends, however it ends.
 * It is in a session of its own, so that a Ctrl-C on the terminal reaches this process only, which can then end it in order.
 */
export class QemuProcess {
  readonly commandLine: readonly string[]
  /** Resolves when the process has ended and its stderr has been read. */
  readonly exited: Promise<QemuExit>
  readonly #child: ChildProcess
  readonly #stderr = new TextTail(STDERR_LIMIT)
  #ended = false

  /** @throws QemuError `qemu.not-found`; a binary that cannot be executed shows in `exited` */
  static spawn(options: QemuProcessOptions): QemuProcess {
    const binary = findExecutable(options.binary)
    if (binary === undefined) {
      throw new QemuError(
        'qemu.not-found',
        `cannot start '${options.binary}': there is no such program on this machine's PATH. Install it ` +
          '(Debian, Ubuntu: apt-get install qemu-system-x86), or name another with the option `binary` or VIRTIO_TS_QEMU',
      )
    }
    return new QemuProcess(commandLine(binary, options), options.fds)
  }

  private constructor(argv: readonly string[], fds: QemuProcessOptions['fds']) {
    this.commandLine = argv
    const [file, ...args] = argv as [string, ...string[]]
    this.#child = spawn(file, args, {
      stdio: ['ignore', 'ignore', 'pipe', ...fds.map((fd) => fd ?? ('ignore' as const))],
      detached: true,
    })
    this.#child.stderr?.setEncoding('utf8').on('data', (piece: string) => this.#stderr.append(piece))
    this.exited = this.#watchExit()
    running.add(this)
    void this.exited.then(() => running.delete(this))
  }

  /** Of the process, which is QEMU itself: what is wrapped around it ends by exec. 0 if it could not be started. */
  get pid(): number {
    return this.#child.pid ?? 0
  }

  get ended(): boolean {
    return this.#ended
  }

  /** The last of what QEMU has said. */
  get stderr(): string {
    return this.#stderr.toString()
  }

  /** Sends SIGKILL. Of no effect once it has ended. */
  kill(): void {
    if (!this.#ended) this.#child.kill('SIGKILL')
  }

  #watchExit(): Promise<QemuExit> {
    const child = this.#child
    return new Promise((resolve) => {
      let result: QemuExit = { code: null, signal: null }
      child.once('error', (error) => {
        // not started (ENOMEM, EAGAIN ...): no exit will follow
        if (child.pid !== undefined) return
        this.#stderr.append(`${error.message}\n`)
        this.#ended = true
        resolve(result)
      })
      child.once('exit', (code, signal) => {
        this.#ended = true
        result = { code, signal }
        const grace = setTimeout(() => {
          child.stderr?.destroy()
          resolve(result)
        }, STDERR_GRACE_MS)
        child.once('close', () => {
          clearTimeout(grace)
          resolve(result)
        })
      })
    })
  }
}

function commandLine(binary: string, options: QemuProcessOptions): string[] {
  // Debian has setpriv everywhere; without it QEMU would outlive a parent that is killed, though not one that exits.
  const setpriv = findExecutable('setpriv')
  const tied = [...(setpriv === undefined ? [] : [setpriv, '--pdeathsig', 'KILL']), binary, ...options.args]
  if (options.namespaceScript === undefined) return tied
  // A new user namespace clears the death signal: it is set inside.
  const script = `set -e\nip link set lo up || true\n${options.namespaceScript}\nexec "$@"`
  return ['unshare', '--user', '--net', '--map-root-user', 'sh', '-c', script, 'sh', ...tied]
}

/** `with exit status 1` or `by SIGKILL`. */
export function describeExit({ code, signal }: QemuExit): string {
  return signal !== null ? `by ${signal}` : code !== null ? `with exit status ${code}` : 'before it began'
}

/** The lines of QEMU's stderr that tell why it ended: without its name in front, the last few. */
export function lastWords(stderr: string, count = 4): string {
  const lines = stderr
    .split('\n')
    .map((line) => line.replace(/^\S*qemu-system-\S+?: /, '').trim())
    .filter((line) => line !== '' && !line.startsWith('warning:'))
  return lines.slice(-count).join('; ')
}
