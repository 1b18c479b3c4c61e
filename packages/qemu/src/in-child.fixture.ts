import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'

const hook = new URL('./load-typescript.fixture.mjs', import.meta.url).href
const register = `data:text/javascript,import{register}from"node:module";register(${JSON.stringify(hook)})`

export interface InChild {
  readonly process: ChildProcess
  /** The next line that the script prints. */
  line(): Promise<string>
  readonly stderr: string
}

/**
 * Runs a module in a Node process of its own, with `QemuBench` in scope.
 * @param wrapper a program with arguments that the process is started by, e.g. setpriv
 */
export function inChild(script: string, wrapper: readonly string[] = []): InChild {
  const source = `import { QemuBench } from ${JSON.stringify(new URL('./index.ts', import.meta.url).href)}\n${script}`
  const node = [
    process.execPath,
    '--conditions=@virtio-ts/source',
    '--import',
    register,
    '--input-type=module',
    '-e',
    source,
  ]
  const [file, ...args] = [...wrapper, ...node] as [string, ...string[]]
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], cwd: new URL('.', import.meta.url) })
  let pending = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (piece: string) => (pending += piece))
  child.stderr.setEncoding('utf8').on('data', (piece: string) => (stderr += piece))
  return {
    process: child,
    get stderr() {
      return stderr
    },
    async line() {
      while (!pending.includes('\n')) {
        if (child.stdout.readableEnded || child.exitCode !== null) throw new Error(`the child has ended: ${stderr}`)
        await Promise.race([once(child.stdout, 'data'), once(child, 'close')])
      }
      const end = pending.indexOf('\n')
      const line = pending.slice(0, end)
      pending = pending.slice(end + 1)
      return line
    },
  }
}
