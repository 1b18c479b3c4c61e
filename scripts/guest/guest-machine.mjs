// @ts-check
// The QEMU process of a guest: its console, its complaints, its end.
import { spawn } from 'node:child_process'
import { Socket } from 'node:net'
import { close, socketPair } from '@virtio-ts/native'
import { Qmp } from '@virtio-ts/qemu'
import { kernelComplaints, qemuComplaints } from './complaints.mjs'

/** @type {Set<import('node:child_process').ChildProcess>} */
const running = new Set()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** One QEMU, killed by the kernel when the thread that started it ends. */
export class GuestMachine {
  console = ''
  stderr = ''
  ended = false
  /** @type {(() => void)[]} */
  #listeners = []

  /**
   * @param {readonly string[]} args @param {number} initrd a descriptor, the caller's
   * @param {string | undefined} networkNamespace where it is started, as `ip netns` names it
   */
  constructor(args, initrd, networkNamespace) {
    const [qmp, childQmp] = socketPair()
    const [agent, childAgent] = socketPair()
    const binary = process.env['VIRTIO_TS_QEMU'] ?? 'qemu-system-x86_64'
    const command = ['setpriv', '--pdeathsig', 'KILL', binary, ...args]
    const [file = '', ...rest] =
      networkNamespace === undefined ? command : ['ip', 'netns', 'exec', networkNamespace, ...command]
    // A session of its own: Ctrl-C on the terminal is for this process, which ends the guest then.
    this.child = spawn(file, rest, { stdio: ['ignore', 'pipe', 'pipe', childQmp, childAgent, initrd], detached: true })
    close(childQmp)
    close(childAgent)
    running.add(this.child)
    this.qmp = new Qmp(qmp)
    this.agent = new Socket({ fd: agent, readable: true, writable: true })
    this.agent.on('error', () => {})
    this.child.stdout?.setEncoding('utf8').on('data', (text) => {
      this.console += text
      this.#wakeUp()
    })
    this.child.stderr?.setEncoding('utf8').on('data', (text) => {
      this.stderr += text
      this.#wakeUp()
    })
    /** Resolves when QEMU has ended and all it said has been read. @type {Promise<{ code: number | null, signal: string | null }>} */
    this.exited = new Promise((resolve) => {
      this.child.on('error', (error) => {
        this.stderr += `${error.message}\n`
        if (this.child.pid === undefined) resolve({ code: null, signal: null })
      })
      this.child.on('close', (code, signal) => resolve({ code, signal }))
    })
    void this.exited.then(() => {
      running.delete(this.child)
      this.ended = true
      this.agent.destroy()
      this.qmp.close()
      this.#wakeUp()
    })
  }

  kill() {
    if (!this.ended) this.child.kill('SIGKILL')
  }

  /** @returns {string[]} */
  complaints() {
    return [...kernelComplaints(this.console), ...qemuComplaints(this.stderr)]
  }

  /** Resolves at the next piece of console or stderr, and at the end. @returns {Promise<void>} */
  change() {
    return new Promise((resolve) => this.#listeners.push(resolve))
  }

  #wakeUp() {
    for (const listener of this.#listeners.splice(0)) listener()
  }
}
