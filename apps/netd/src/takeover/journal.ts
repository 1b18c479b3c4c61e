import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { CommandError, codeOf } from '@virtio-ts/command-line'
import { type JournalEntry, journalEntry } from './journal-entry.ts'
import { FieldError } from './plain-fields.ts'

/** Where everybody on the machine finds it; gone after a reboot, as the bindings are. */
export const journalDirectory = '/run/virtio-ts/taken'

/** A journal entry is a few thousand bytes. */
const maxLength = 1 << 20
const fileName = /^([0-9a-f]{4,8}:[0-9a-f]{2}:[0-1][0-9a-f]\.[0-7])\.json$/

/**
 * What has to be restored, one file for each function that was taken from its driver, written before anything is changed. Only its
 * owner may have written there, and what is read is checked field by field: restoring runs commands as root.
 */
export class Journal {
  readonly directory: string
  readonly #uid: number

  /** @param uid the user that files have to belong to */
  constructor(directory: string = journalDirectory, uid: number = process.getuid?.() ?? 0) {
    this.directory = directory
    this.#uid = uid
  }

  path(address: string): string {
    return join(this.directory, `${address}.json`)
  }

  /** Makes the directory where it is missing. @throws CommandError `takeover.journal`, `takeover.permission` */
  prepare(): void {
    try {
      mkdirSync(this.directory, { recursive: true, mode: 0o700 })
    } catch (error) {
      throw new CommandError(
        isRefusal(error) ? 'takeover.permission' : 'takeover.journal',
        `${this.directory} cannot be made`,
        {
          why: (error as Error).message,
          fix: isRefusal(error) ? 'run it as root: sudo netd ...' : `look at what is at ${dirname(this.directory)}`,
          cause: error,
        },
      )
    }
    this.#checkDirectory()
  }

  /** The entry for a function, or undefined when it was not taken. @throws CommandError `takeover.journal`, `takeover.permission` */
  read(address: string): JournalEntry | undefined {
    const path = this.path(address)
    let text: string
    try {
      if (lstatSync(this.directory, { throwIfNoEntry: false }) === undefined) return undefined
      this.#checkDirectory()
      text = this.#readFile(path)
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined
      if (isRefusal(error))
        throw new CommandError('takeover.permission', `${path} cannot be read`, {
          why: (error as Error).message,
          fix: 'run it as root: sudo netd ...',
          cause: error,
        })
      throw error instanceof CommandError ? error : this.#unusable(path, (error as Error).message)
    }
    try {
      return journalEntry(JSON.parse(text), address)
    } catch (error) {
      if (error instanceof SyntaxError || error instanceof FieldError) throw this.#unusable(path, error.message)
      throw error
    }
  }

  /** Replaces the entry as a whole, and returns when it will survive this process. @throws CommandError `takeover.journal` */
  write(entry: JournalEntry): void {
    const path = this.path(entry.address)
    const temporary = `${path}.${process.pid}`
    try {
      rmSync(temporary, { force: true })
      const fd = openSync(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600)
      try {
        writeFileSync(fd, `${JSON.stringify(entry, undefined, 2)}\n`)
        fsyncSync(fd)
      } finally {
        closeSync(fd)
      }
      renameSync(temporary, path)
    } catch (error) {
      rmSync(temporary, { force: true })
      throw new CommandError('takeover.journal', `${path} cannot be written`, {
        why: (error as Error).message,
        fix: 'nothing was changed: make room or mend the file system, and start again',
        cause: error,
      })
    }
  }

  remove(address: string): void {
    rmSync(this.path(address), { force: true })
  }

  /** Addresses of functions that were taken, sorted; none where we may not look. */
  addresses(): readonly string[] {
    try {
      return readdirSync(this.directory)
        .flatMap((name) => fileName.exec(name)?.[1] ?? [])
        .sort()
    } catch {
      return []
    }
  }

  /** Nobody else may have put something there, or be able to put it somewhere else. */
  #checkDirectory(): void {
    for (const directory of [this.directory, dirname(this.directory)]) {
      const found = lstatSync(directory)
      const why = !found.isDirectory()
        ? 'it is a symbolic link, or not a directory'
        : found.uid !== this.#uid && found.uid !== 0
          ? `it belongs to user ${found.uid}`
          : (found.mode & 0o022) !== 0 && (found.mode & 0o1000) === 0
            ? `others may write to it (mode ${(found.mode & 0o777).toString(8)})`
            : undefined
      if (why === undefined) continue
      throw new CommandError('takeover.journal', `${directory} cannot be trusted`, {
        why,
        fix: `see who made it, then: sudo rm -r ${directory}`,
      })
    }
  }

  #readFile(path: string): string {
    const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    try {
      const found = fstatSync(fd)
      if (!found.isFile()) throw this.#unusable(path, 'it is not a file')
      if (found.uid !== this.#uid) throw this.#unusable(path, `it belongs to user ${found.uid}`)
      if ((found.mode & 0o022) !== 0) throw this.#unusable(path, 'others may write to it')
      if (found.size > maxLength) throw this.#unusable(path, `it has ${found.size} bytes`)
      return readFileSync(fd, 'utf8')
    } finally {
      closeSync(fd)
    }
  }

  #unusable(path: string, why: string): CommandError {
    return new CommandError('takeover.journal', `${path} cannot be used: nothing was done`, {
      why,
      fix: `restore the device by hand (driverctl unset-override, ip address add), then: sudo rm ${path}`,
    })
  }
}

export function isRefusal(error: unknown): boolean {
  return ['EACCES', 'EPERM', 'EROFS'].includes(codeOf(error) ?? '')
}
