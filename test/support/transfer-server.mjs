// BYTES SEED HOST: serves BYTES pseudo-random bytes of SEED on GET, answers the sha256 of what it gets on PUT. Prints its port.
import { createHash } from 'node:crypto'
import { createServer } from 'node:http'

const bytes = Number(process.argv[2])
const body = Buffer.alloc(bytes)
let x = Number(process.argv[3]) >>> 0 || 1
for (let i = 0; i + 4 <= bytes; i += 4) {
  // xorshift32: cheap, and no two packets alike
  x ^= x << 13
  x ^= x >>> 17
  x ^= x << 5
  body.writeInt32LE(x | 0, i)
}

const server = createServer((request, response) => {
  if (request.method === 'PUT') {
    const hash = createHash('sha256')
    request.on('data', (chunk) => hash.update(chunk))
    request.on('end', () => response.end(hash.digest('hex')))
  } else response.end(body)
})
server.listen(0, process.argv[4], () => {
  console.log(JSON.stringify({ port: server.address().port, sha256: createHash('sha256').update(body).digest('hex') }))
})
