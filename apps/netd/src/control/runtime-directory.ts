import { codeOf, CommandError } from '@virtio-ts/command-line'
import { lstatSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'

/** What decides where sockets live; injectable for tests. */
export interface RuntimeEnvironment {
  readonly uid: number
  readonly env: Readonly<Record<string, string | undefined>>
}

function processRuntime(): RuntimeEnvironment {
  return { uid: process.getuid?.() ?? 0, env: process.env }
}

/** Longest path a Unix socket can have: sun_path holds 108 bytes, one of them the terminating zero. */
const maxSocketPath = 107

/** The directory with one socket for each running netd of this user. */
export function runtimeDirectory({ uid, env }: RuntimeEnvironment = processRuntime()): string {
  if (env['NETD_RUNTIME_DIR']) return env['NETD_RUNTIME_DIR']
  if (uid === 0) return '/run/netd'
  if (env['XDG_RUNTIME_DIR']) return join(env['XDG_RUNTIME_DIR'], 'netd')
  return `/tmp/netd-${uid}`
}

/** Whether a session may be called this: it becomes the name of a file. */
export function isSessionName(name: string): boolean {
  return /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/.test(name)
}

/** @throws CommandError `control.name` for a name that cannot be a session's, `control.path-too-long` */
export function socketPath(directory: string, name: string): string {
  if (!isSessionName(name)) {
    throw new CommandError('control.name', `${JSON.stringify(name.slice(0, 80))} cannot be the name of a netd`, {
      why: 'a name is made of letters, digits, "_", "-" and "."',
      fix: 'netd show lists those running',
    })
  }
  const path = join(directory, `${name}.sock`)
  if (Buffer.byteLength(path) > maxSocketPath) {
    throw new CommandError('control.path-too-long', `cannot use a control socket at ${path}`, {
      why: `the path of a Unix socket has at most ${maxSocketPath} bytes`,
      fix: 'set NETD_RUNTIME_DIR to a shorter directory',
    })
  }
  return path
}

/**
 * Makes the directory where it is missing, and makes sure that it is ours alone: in /tmp somebody else may have been first.
 * @throws CommandError `control.directory`
 */
export function prepareRuntimeDirectory(directory: string, uid: number = processRuntime().uid): void {
  const failure = (why: string, cause?: unknown): CommandError =>
    new CommandError('control.directory', `cannot keep control sockets in ${directory}`, {
      why,
      cause,
      fix: 'set NETD_RUNTIME_DIR to a directory of your own',
    })
  try {
    mkdirSync(directory, { mode: 0o700, recursive: true })
  } catch (error) {
    throw failure(
      codeOf(error) === 'EEXIST' ? 'there is something there that is not a directory' : 'it cannot be made',
      error,
    )
  }
  const found = lstatSync(directory)
  if (!found.isDirectory()) throw failure('it is a symbolic link, or not a directory')
  if (found.uid !== uid) throw failure(`it belongs to user ${found.uid}`)
  if ((found.mode & 0o022) !== 0) throw failure(`others may write to it (mode ${(found.mode & 0o777).toString(8)})`)
}
