import { codeOf, CommandError } from '@virtio-ts/command-line'
import { existsSync, lstatSync, readlinkSync, symlinkSync, unlinkSync } from 'node:fs'

/**
 * A symbolic link that leads to a terminal, and is taken away again: also when the process exits in the middle of something, but only as long
 * as it leads there.
 */
export class TerminalLink {
  readonly #path: string
  readonly #target: string
  readonly #remove = (): void => this.remove()

  /**
   * A link that leads nowhere, as a program that was killed leaves it, is replaced, and one that leads to this terminal, whose number a
   * killed one had before; anything else is left alone.
   * @throws CommandError `link.exists`, `link.failed`
   */
  constructor(path: string, target: string) {
    this.#path = path
    this.#target = target
    try {
      if (isOfNoUse(path, target)) unlinkSync(path)
      symlinkSync(target, path)
    } catch (cause) {
      throw codeOf(cause) === 'EEXIST' ? occupied(path) : failed(path, cause)
    }
    process.on('exit', this.#remove)
  }

  /** Idempotent. Never throws. */
  remove(): void {
    process.off('exit', this.#remove)
    try {
      if (readlinkSync(this.#path) === this.#target) unlinkSync(this.#path)
    } catch {
      // Somebody was faster, or it is something else by now.
    }
  }
}

function isLink(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true
}

function isOfNoUse(path: string, target: string): boolean {
  return isLink(path) && (!existsSync(path) || readlinkSync(path) === target)
}

function occupied(path: string): CommandError {
  const link = isLink(path)
  return new CommandError('link.exists', `${path} is there already`, {
    why: link
      ? `it leads to ${readlinkSync(path)}, which may be another program's; only a link that leads nowhere is replaced`
      : 'it is no symbolic link; only a link that leads nowhere is replaced',
    fix: link ? `another path, or, when nobody needs it: rm ${path}` : 'another path',
  })
}

function failed(path: string, cause: unknown): CommandError {
  return new CommandError('link.failed', `cannot make a link at ${path}`, { cause, fix: 'another path' })
}
