import { chmodSync, linkSync, lstatSync, unlinkSync } from 'node:fs'
import { connect, type Server } from 'node:net'
import { dirname, join } from 'node:path'
import { CommandError } from './command-error.ts'
import { codeOf } from './exit-code-of.ts'

/** Whether somebody listens on a Unix socket. Its file alone does not tell: it stays behind when its process is killed. */
export function isListening(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    const answer = (listening: boolean) => {
      socket.destroy()
      resolve(listening)
    }
    socket.on('connect', () => answer(true))
    // EAGAIN: its backlog is full, so it is alive. EACCES: it is somebody else's, and not ours to judge.
    socket.on('error', (error) => answer(!['ECONNREFUSED', 'ENOENT'].includes(codeOf(error) ?? '')))
  })
}

function inUse(path: string): CommandError {
  return new CommandError('control.socket-in-use', `somebody answers on ${path} already`, {
    fix: 'another path, or end what listens there',
  })
}

function removeQuietly(path: string): void {
  try {
    unlinkSync(path)
  } catch {
    // Gone already.
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to)
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    throw error
  }
}

/** What tells one socket at a path from another that took its place; numbers of inodes come back, times do not. */
function identityOf(path: string): string | undefined {
  const found = lstatSync(path, { bigint: true, throwIfNoEntry: false })
  if (found && !found.isSocket()) {
    throw new CommandError('control.socket-in-use', `there is something at ${path} that is not a socket`, {
      fix: 'another path; it was left alone',
    })
  }
  return found && `${found.dev} ${found.ino} ${found.ctimeNs}`
}

/**
 * Makes `server` listen at `path`, mode 0600. The socket is made under another name and linked to its own, which fails where
 * that is taken: of two programs that start at once one wins.
 * @returns a function that removes the file, unless it is somebody else's by then
 * @throws CommandError `control.socket-in-use`
 */
export async function claimSocket(server: Server, path: string): Promise<() => void> {
  const temporary = join(dirname(path), `.${process.pid}.${Math.random().toString(36).slice(2, 8)}`)
  await listen(server, temporary)
  try {
    chmodSync(temporary, 0o600)
    while (!tryLink(temporary, path)) {
      const occupant = identityOf(path)
      if (await isListening(path)) throw inUse(path)
      // Meanwhile another starter may have cleared the dead one away and put its own there: only what was looked at goes.
      if (occupant !== undefined && identityOf(path) === occupant) unlinkSync(path)
    }
  } catch (error) {
    server.close()
    throw error
  } finally {
    removeQuietly(temporary)
  }
  const own = identityOf(path)
  return () => {
    try {
      if (identityOf(path) === own) unlinkSync(path)
    } catch {
      // What is there now is not ours.
    }
  }
}
