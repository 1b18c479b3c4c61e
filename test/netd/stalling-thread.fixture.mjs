// Loaded into netd with --import: its worker threads stop answering, for good, once there is a file at STALL_FILE.
import { existsSync } from 'node:fs'
import { isMainThread } from 'node:worker_threads'

if (!isMainThread) {
  setInterval(() => {
    if (existsSync(process.env.STALL_FILE)) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
  }, 20).unref()
}
