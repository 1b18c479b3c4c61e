// @ts-check
// Runs inside the guest: starts commands that the other end of a virtio-serial port asks for, several at once, and sends what they say.
import { spawn } from 'node:child_process'
import { openSync, read, readdirSync, readFileSync, write, writeFileSync } from 'node:fs'
import { encodeFrame, FrameReader, Kind } from './frames.mjs'

const PORT_NAME = 'virtio-ts.agent'
/** Commands are paused when this many bytes wait to be sent. */
const MANY = 1 << 20
/** How long to wait for a command's output after its end: a child of its own may hold it open. In milliseconds. */
const GRACE = 500

process.title = 'guest-agent'
// What a test does to the guest's memory must not end the one who reports it.
setOomScore(process.pid, -1000)
const port = openSync(portPath(), 'r+')
/** @type {Map<number, import('node:child_process').ChildProcess>} */
const running = new Map()
/** @type {Buffer[]} */
const queue = []
let queued = 0
let writing = false

const reader = new FrameReader((id, kind, payload) => {
  if (kind === Kind.START) return start(id, JSON.parse(payload.toString()))
  if (kind === Kind.POWER_OFF) process.exit(0)
  const child = running.get(id)
  if (child === undefined) return
  if (kind === Kind.STDIN) payload.length === 0 ? child.stdin?.end() : child.stdin?.write(payload)
  if (kind === Kind.SIGNAL) {
    const { signal, group } = JSON.parse(payload.toString())
    kill(group ? -Number(child.pid) : Number(child.pid), signal)
  }
})
send(0, Kind.HELLO)
receive(Buffer.allocUnsafe(1 << 16))

/** @param {Buffer} buffer */
function receive(buffer) {
  // Blocks in a thread of libuv's pool, where it harms nobody: this program ends only with the guest.
  read(port, buffer, 0, buffer.length, null, (error, length) => {
    if (error || length === 0) process.exit(1)
    reader.push(Buffer.from(buffer.subarray(0, length)))
    receive(buffer)
  })
}

/** @param {number} id @param {{ argv: string[], environment: Record<string, string>, directory: string, stdin: boolean }} command */
function start(id, { argv, environment, directory, stdin }) {
  const [file = '', ...args] = argv
  const child = spawn(file, args, {
    cwd: directory,
    env: { ...process.env, ...environment },
    stdio: [stdin ? 'pipe' : 'ignore', 'pipe', 'pipe'],
    detached: true,
  })
  running.set(id, child)
  if (child.pid !== undefined) setOomScore(child.pid, 0)
  let ended = false
  /** @param {object} result */
  const end = (result) => {
    if (ended) return
    ended = true
    running.delete(id)
    send(id, Kind.EXIT, result)
  }
  child.stdin?.on('error', () => {})
  child.stdout?.on('data', (bytes) => ended || send(id, Kind.STDOUT, bytes))
  child.stderr?.on('data', (bytes) => ended || send(id, Kind.STDERR, bytes))
  child.on('spawn', () => send(id, Kind.STARTED, { pid: child.pid }))
  child.on('error', (error) => child.pid === undefined && end({ error: error.message }))
  // Output that is there already is read, and sent, before the end is told.
  const endSoon = (/** @type {object} */ result) => {
    setTimeout(() => setImmediate(() => (queued > 0 ? endSoon(result) : end(result))), GRACE)
  }
  child.on('exit', (code, signal) => endSoon({ code, signal }))
  child.on('close', (code, signal) => end({ code, signal }))
}

/** @param {number} pid @param {number} score */
function setOomScore(pid, score) {
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, String(score))
  } catch {
    // It has ended already.
  }
}

/** @param {number} pid @param {NodeJS.Signals} signal */
function kill(pid, signal) {
  try {
    process.kill(pid, signal)
  } catch {
    // It has ended by itself meanwhile.
  }
}

/** @param {number} id @param {number} kind @param {Uint8Array | object} [payload] */
function send(id, kind, payload) {
  const frame = encodeFrame(id, kind, payload)
  queue.push(frame)
  queued += frame.length
  if (queued > MANY) for (const { stdout, stderr } of running.values()) for (const s of [stdout, stderr]) s?.pause()
  if (!writing) sendQueue()
}

function sendQueue() {
  const bytes = Buffer.concat(queue.splice(0))
  writing = bytes.length > 0
  if (!writing) {
    for (const { stdout, stderr } of running.values()) for (const s of [stdout, stderr]) s?.resume()
    return
  }
  writeAll(bytes, 0, () => {
    queued -= bytes.length
    sendQueue()
  })
}

/** The port takes 32 KiB at a time. @param {Buffer} bytes @param {number} at @param {() => void} done */
function writeAll(bytes, at, done) {
  if (at === bytes.length) return done()
  write(port, bytes, at, bytes.length - at, null, (error, length) => {
    if (error) process.exit(1)
    writeAll(bytes, at + length, done)
  })
}

/** There is no udev to name ports. */
function portPath() {
  const folder = '/sys/class/virtio-ports'
  const found = readdirSync(folder).find((name) => readFileSync(`${folder}/${name}/name`, 'utf8').trim() === PORT_NAME)
  if (found === undefined) throw new Error(`no port ${PORT_NAME} in ${folder}`)
  return `/dev/${found}`
}
