import { PassThrough } from 'node:stream'
import type { CommandIo } from './command-io.ts'

/** A command's surroundings in memory: what it prints is kept, `abort` is Ctrl-C. */
export interface MemoryIo {
  readonly io: CommandIo
  readonly stdout: () => string
  readonly stderr: () => string
  readonly abort: (reason?: string) => void
}

export function memoryIo(options: { color?: boolean; program?: string } = {}): MemoryIo {
  const chunks = { stdout: '', stderr: '' }
  const controller = new AbortController()
  const stream = (name: keyof typeof chunks) => {
    const through = new PassThrough()
    through.on('data', (chunk: Buffer) => {
      chunks[name] += chunk.toString('latin1')
    })
    return through
  }
  return {
    io: {
      stdout: stream('stdout'),
      stderr: stream('stderr'),
      signal: controller.signal,
      color: options.color ?? false,
      program: options.program ?? 'netd',
    },
    stdout: () => Buffer.from(chunks.stdout, 'latin1').toString('utf8'),
    stderr: () => Buffer.from(chunks.stderr, 'latin1').toString('utf8'),
    abort: (reason = 'SIGINT') => controller.abort(reason),
  }
}
