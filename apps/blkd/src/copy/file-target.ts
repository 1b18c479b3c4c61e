import { constants, type Stats } from 'node:fs'
import { type FileHandle, open, realpath, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { CommandError, codeOf } from '@virtio-ts/command-line'
import type { CopyTarget } from './copy-ends.ts'

/** What file systems give out. */
const GRANULE = 4096

/**
 * A file that is written beside its place and put there when it is complete; what was there before stays until then. Where a name leads to
 * anything but a file (a device, a pipe) nothing is written.
 * @throws CommandError `copy.not-a-file`, errors of the system
 */
export async function openFileTarget(name: string, size: number): Promise<CopyTarget> {
  const { path, before } = await placeOf(name)
  if (before && !before.isFile()) {
    throw new CommandError('copy.not-a-file', `${name} is not a regular file`, {
      fix: 'another name; it was left alone',
    })
  }
  const partial = join(dirname(path), `.${basename(path)}.${process.pid}.partial`)
  const file = await open(partial, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o666)
  // The second signal ends the process where it stands; the file's name tells what is left then.
  try {
    if (before) await file.chmod(before.mode & 0o777)
    await file.truncate(size)
  } catch (error) {
    await file.close()
    await rm(partial, { force: true })
    throw error
  }
  return {
    granule: GRANULE,
    write: (offset, bytes) => writeAll(file, offset, bytes),
    // It is new: what is not written reads as zeroes.
    zero: async () => {},
    finish: async () => {
      await file.sync()
      await file.close()
      await rename(partial, path)
    },
    abandon: async () => {
      await file.close()
      await rm(partial, { force: true })
      return undefined
    },
  }
}

/** Where a name leads, through links, and what is there. */
async function placeOf(name: string): Promise<{ path: string; before: Stats | undefined }> {
  try {
    const path = await realpath(name)
    return { path, before: await stat(path) }
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return { path: name, before: undefined }
    throw error
  }
}

async function writeAll(file: FileHandle, offset: number, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; )
    done += (await file.write(bytes, done, bytes.length - done, offset + done)).bytesWritten
}
