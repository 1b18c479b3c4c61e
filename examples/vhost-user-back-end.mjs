// @ts-check
// A device behind a Unix socket, as QEMU and libvirt start one:
//   node examples/vhost-user-back-end.mjs net|rng|block --socket-path PATH | --fd N
//   block: [--blk-file IMAGE] [--read-only] [--size BYTES, without a file] [--num-queues N] [--block-size BYTES]
import { parseArgs } from 'node:util'
import { BlockModel, FileStore, NetModel, NetPeer, RngModel, VhostUserBackEnd } from '@virtio-ts/device-models'

const devices = ['net', 'rng', 'block']
const SECTOR = 512

if (process.argv.includes('--print-capabilities')) {
  const type = devices.find((name) => process.argv.some((word) => word === name || word === `--type=${name}`)) ?? 'net'
  console.log(JSON.stringify({ type, features: type === 'block' ? ['read-only', 'blk-file'] : [] }))
  process.exit(0)
}
const string = /** @type {const} */ ({ type: 'string' })
const options = {
  'socket-path': string,
  fd: string,
  type: string,
  'blk-file': string,
  'read-only': /** @type {const} */ ({ type: 'boolean' }),
  size: string,
  'num-queues': string,
  'block-size': string,
  packed: /** @type {const} */ ({ type: 'boolean' }),
}
const { values, positionals } = parseArgs({ options, allowPositionals: true })
const { 'socket-path': path, fd, 'blk-file': file, 'read-only': readOnly = false } = values
const type = positionals[0] ?? values.type ?? 'net'
const numbers = [values.size, values['num-queues'], values['block-size'], fd]
if (
  (path === undefined) === (fd === undefined) ||
  !devices.includes(type) ||
  positionals.length > 1 ||
  numbers.some((word) => word !== undefined && !/^[0-9]+$/.test(word))
) {
  console.error(
    'usage: vhost-user-back-end.mjs net|rng|block --socket-path PATH | --fd N [--packed] [--print-capabilities]\n' +
      '       block: [--blk-file IMAGE | --size BYTES] [--read-only] [--num-queues N] [--block-size BYTES]',
  )
  process.exit(2)
}

/** The image; a disk without one is gone with this process. */
const storage = type === 'block' && file !== undefined ? FileStore.open(file, { readOnly }) : undefined
const model = type === 'net' ? new NetModel() : type === 'rng' ? new RngModel() : disk()
// Behind the network device there is a host: 10.0.0.1 answers ARP, ping and UDP.
if (model instanceof NetModel) new NetPeer().attach(model)
/** @param {string} event */
const onSession = (event, reason = '') => console.error(event, reason)
const settings = { onSession, ringFeatures: { RING_PACKED: values.packed === true } }
const backEnd = path
  ? VhostUserBackEnd.serve(model, { path, ...settings })
  : VhostUserBackEnd.attach(model, Number(fd), settings)
// Nothing is left to do then, so the process ends; the socket goes with the back-end.
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => backEnd.close())
// Whatever ended it: what was written is made safe.
process.once('beforeExit', () => storage?.close())
// The image has another size now.
process.on('SIGHUP', () => {
  if (storage && model instanceof BlockModel) model.resize(storage.sectors)
})

/** @returns {BlockModel} */
function disk() {
  return new BlockModel({
    ...(storage && { storage }),
    capacity: storage?.sectors ?? Math.floor(Number(values.size ?? 64 * 2 ** 20) / SECTOR),
    readOnly,
    queues: Number(values['num-queues'] ?? 1),
    blockSize: Number(values['block-size'] ?? SECTOR),
  })
}
