export type QemuErrorCode =
  /** The binary is not there, or cannot be executed. */
  | 'qemu.not-found'
  /** QEMU ended, or did not answer, before it was ready: a refused argument, a missing module, no memory. */
  | 'qemu.start-failed'
  /** QEMU is too old. */
  | 'qemu.version'
  /** QEMU ended while in use. */
  | 'qemu.exited'
  /** QEMU said something that its protocols do not allow, or stopped answering. */
  | 'qemu.protocol'
  /** The bench has been closed. */
  | 'qemu.closed'
  /** There is no PCI function of that name or index. */
  | 'qemu.no-function'
  /** The machine has no place where this can be plugged in, or unplugged from. */
  | 'qemu.no-hot-plug'
  /** The machine has no addresses or bus numbers left. */
  | 'qemu.exhausted'
  /** QMP: the command was refused; `message` holds what QEMU said. */
  | 'qmp.error'
  /** QMP: no answer, or no event, in time. */
  | 'qmp.timeout'

/** What went wrong between this process and QEMU, or inside QEMU. Codes are stable; messages say what, why and what to do. */
export class QemuError extends Error {
  readonly code: QemuErrorCode

  constructor(code: QemuErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'QemuError'
    this.code = code
  }
}
