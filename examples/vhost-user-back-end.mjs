// @ts-check
// A device behind a Unix socket, as QEMU and libvirt start one: node examples/vhost-user-back-end.mjs --socket-path PATH | --fd N
import { parseArgs } from 'node:util'
import { NetModel, NetPeer, RngModel, VhostUserBackEnd } from '@virtio-ts/device-models'

if (process.argv.includes('--print-capabilities')) {
  console.log(JSON.stringify({ type: process.argv.some((word) => word.endsWith('rng')) ? 'rng' : 'net', features: [] }))
  process.exit(0)
}
/** @satisfies {import('node:util').ParseArgsConfig['options']} */
const options = { 'socket-path': { type: 'string' }, fd: { type: 'string' }, type: { type: 'string', default: 'net' } }
const { 'socket-path': path, fd, type } = parseArgs({ options }).values
if ((path === undefined) === (fd === undefined) || (type !== 'net' && type !== 'rng')) {
  console.error('usage: vhost-user-back-end.mjs --socket-path PATH | --fd N [--type net|rng] [--print-capabilities]')
  process.exit(2)
}

const model = type === 'net' ? new NetModel() : new RngModel()
// Behind the network device there is a host: 10.0.0.1 answers ARP, ping and UDP.
if (model instanceof NetModel) new NetPeer().attach(model)
/** @param {string} event */
const onSession = (event, reason = '') => console.error(event, reason)
const backEnd = path
  ? VhostUserBackEnd.serve(model, { path, onSession })
  : VhostUserBackEnd.attach(model, Number(fd), { onSession })
// Nothing is left to do then, so the process ends; the socket goes with the back-end.
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => backEnd.close())
