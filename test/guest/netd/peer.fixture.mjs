// What guests talk to: TCP streams of pseudo-random bytes both ways, and floods of UDP. Prints its port, then takes orders on stdin.
import { createHash } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { body } from './body.mjs'

/** A line "get BYTES SEED" is answered by the bytes; after a line "put" comes a stream, which is answered by its sha256. */
const server = createServer({ allowHalfOpen: true }, (socket) => {
  socket.on('error', () => {})
  let hash
  socket.on('data', (chunk) => {
    if (hash !== undefined) return void hash.update(chunk)
    const end = chunk.indexOf(10)
    const [word, bytes, seed] = chunk.subarray(0, end).toString().split(' ')
    hash = createHash('sha256')
    if (word === 'get') socket.end(body(Number(bytes), Number(seed)))
    else hash.update(chunk.subarray(end + 1))
  })
  socket.on('end', () => {
    if (hash !== undefined && socket.writable) socket.end(hash.digest('hex'))
  })
})

const flooding = createSocket('udp4')
flooding.on('error', () => {})
const datagram = Buffer.alloc(1400, 0xa5)
let timer

/** "flood ADDRESS..." sends datagrams there, some hundreds a second, until the next order. */
function order(line) {
  const addresses = line.split(' ').slice(1).filter(Boolean)
  clearInterval(timer)
  if (addresses.length > 0) timer = setInterval(() => addresses.forEach(burst), 10)
}

function burst(address) {
  for (let i = 0; i < 8; i++) flooding.send(datagram, 9, address, () => {})
}

server.listen(0, '0.0.0.0', () => console.log(server.address().port))
createInterface({ input: process.stdin })
  .on('line', order)
  .on('close', () => process.exit())
