// Does what a broken driver would: at a line {"pid", "at", "count", "what"} on stdin it changes descriptors of that process's device, in the memory that
// the two share. "at": where the device sees the first of "count" descriptors. "what": their "length" becomes 0, or their "address" one
// where the device has no memory.
import { openSync, readdirSync, readlinkSync, writeSync } from 'node:fs'
import { createInterface } from 'node:readline'

/** The device sees the memory from here on: the lowest place of 2 MiB that there is. */
const base = 0x20_0000
const changes = {
  length: { offset: 8, bytes: new Uint8Array(4) },
  address: { offset: 0, bytes: new Uint8Array([0, 0, 0xad, 0xde, 0, 0, 0, 0]) },
}

console.log('breaker')
for await (const line of createInterface({ input: process.stdin })) {
  const { id, pid, at, count, what } = JSON.parse(line)
  const folder = `/proc/${pid}/fd`
  const name = readdirSync(folder).find((fd) => readlinkSync(`${folder}/${fd}`).startsWith('/memfd:virtio-ts'))
  const memory = openSync(`${folder}/${name}`, 'r+')
  const { offset, bytes } = changes[what]
  // Every other one: where none has any room, QEMU would only wait for some.
  for (let i = 0; i < count; i += 2) writeSync(memory, bytes, 0, bytes.length, at - base + 16 * i + offset)
  console.log(JSON.stringify({ id }))
}
