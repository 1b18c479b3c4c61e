// The guest's side of peer.fixture.mjs: takes jobs as lines of JSON, answers each by the sha256 of what arrived here and there.
import { createHash } from 'node:crypto'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'

function exchange({ host, port }, write) {
  return new Promise((resolve, reject) => {
    const chunks = []
    const socket = connect({ host, port }, () => write(socket))
    socket.on('data', (chunk) => chunks.push(chunk))
    socket.on('end', () => resolve(Buffer.concat(chunks)))
    socket.on('error', reject)
    socket.setTimeout(60_000, () => socket.destroy(new Error('nothing for a minute')))
  })
}

async function run(job) {
  const { bytes, seed } = job
  const received = await exchange(job, (socket) => socket.write(`get ${bytes} ${seed}\n`))
  const down = createHash('sha256').update(received).digest('hex')
  // Back it goes, changed: nothing can be answered from what the other side had.
  received.reverse()
  const answer = await exchange(job, (socket) => {
    socket.write('put\n')
    socket.end(received)
  })
  return { down, up: String(answer) }
}

console.log('client')
for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line)
  run(job).then(
    (result) => console.log(JSON.stringify({ id: job.id, ...result })),
    (error) => console.log(JSON.stringify({ id: job.id, error: String(error) })),
  )
}
