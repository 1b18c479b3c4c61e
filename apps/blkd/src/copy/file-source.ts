import { type FileHandle, open } from 'node:fs/promises'
import { CommandError } from '@virtio-ts/command-line'
import type { CopySource } from './copy-ends.ts'

/** A regular file. @throws CommandError `copy.not-a-file`, errors of the system */
export async function openFileSource(path: string): Promise<{ source: CopySource; close: () => Promise<void> }> {
  const file = await open(path, 'r')
  try {
    const stat = await file.stat()
    if (!stat.isFile()) {
      throw new CommandError('copy.not-a-file', `${path} is not a regular file`, {
        why: 'how much there is to read cannot be told of anything else',
        fix: 'a file',
      })
    }
    return {
      source: { size: stat.size, read: (offset, length) => readAll(file, path, offset, length) },
      close: () => file.close(),
    }
  } catch (error) {
    await file.close()
    throw error
  }
}

async function readAll(file: FileHandle, path: string, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length)
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(bytes, done, length - done, offset + done)
    if (bytesRead === 0) throw new CommandError('copy.shrunk', `${path} became shorter while it was read`)
    done += bytesRead
  }
  return bytes
}
