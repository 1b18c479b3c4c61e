import { readFileSync } from 'node:fs'
import { isMainThread } from 'node:worker_threads'

// dlfcn.h
const RTLD_NOW = 0x2
const RTLD_NOLOAD = 0x4
const RTLD_NODELETE = 0x1000

/**
 * Keeps koffi's native library in memory for the life of the process.
 *
 * When a worker is terminated that watches descriptors, libuv calls back into koffi to let the watches go, after Node has
 * unloaded koffi with the worker, unless another thread uses it too: SIGSEGV (koffi 3.3.4, Node 20).
 *
 * @param dlopen of the C library
 */
export function keepKoffiLoaded(dlopen: (path: string, flags: number) => unknown): void {
  if (isMainThread) return
  const path = /\s(\/\S.*koffi\.node)$/m.exec(readFileSync('/proc/self/maps', 'utf8'))?.[1]
  if (path !== undefined) dlopen(path, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE)
}
