// @ts-check
// The network on this machine's side: a namespace with a TAP for each of the guest's NICs, and an iperf3 server that all of them reach.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'

const PREFIX = 24

/** @typedef {{ tap: string, host: string, guest: string }} Link a TAP, the address of this machine on it, and the guest's */

/** @param {number} index of the NIC, from 0 @returns {Link} */
export function link(index) {
  return { tap: `nic${index}`, host: `10.98.${index}.1`, guest: `10.98.${index}.2` }
}

/** A namespace of its own; gone when this process exits, or before. */
export class BenchNamespace {
  name = `virtio-ts-bench-${process.pid}`
  #close = () => this.close()
  /** @type {import('node:child_process').ChildProcess | undefined} */
  #server

  /** @param {readonly Link[]} links */
  constructor(links) {
    ip('netns', 'add', this.name)
    process.on('exit', this.#close)
    this.#run('sh', '-c', 'echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6')
    this.#run('ip', 'link', 'set', 'lo', 'up')
    for (const { tap, host } of links) {
      this.#run('ip', 'tuntap', 'add', 'dev', tap, 'mode', 'tap', 'vnet_hdr')
      this.#run('ip', 'address', 'add', `${host}/${PREFIX}`, 'dev', tap)
      this.#run('ip', 'link', 'set', tap, 'up')
    }
  }

  /** Starts the iperf3 server; resolves once it listens. */
  async serve() {
    const command = ['setpriv', '--pdeathsig', 'KILL', 'iperf3', '--server', '--forceflush']
    this.#server = spawn('ip', ['netns', 'exec', this.name, ...command], { stdio: ['ignore', 'pipe', 'inherit'] })
    const exit = once(this.#server, 'exit').then(([code]) => {
      throw new Error(`iperf3 has ended with status ${code}: is it installed (apt-get install iperf3)?`)
    })
    exit.catch(() => {})
    await Promise.race([once(/** @type {import('node:stream').Readable} */ (this.#server.stdout), 'data'), exit])
    // What it prints is not needed, and must not stop it.
    this.#server.stdout?.resume()
  }

  /** Ends the server and removes the namespace with its TAPs. Idempotent. */
  close() {
    process.off('exit', this.#close)
    this.#server?.kill('SIGKILL')
    if (this.name === '') return
    ip('netns', 'delete', this.name)
    this.name = ''
  }

  /** @param {string[]} command */
  #run(...command) {
    ip('netns', 'exec', this.name, ...command)
  }
}

/** @param {string[]} args */
function ip(...args) {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] })
}
