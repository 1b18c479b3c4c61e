// A netd whose code is loaded and that waits for its arguments, a line of JSON on stdin: node takes a second to start in a guest, and longer
// on a busy machine. From then on it is netd as its bin is.
import '@virtio-ts/driver-net'
import '@virtio-ts/device-locator'
import { start } from './dist/main.js'
import './dist/commands/run.js'

console.log('waiting')
process.stdin.once('data', (line) => {
  process.stdin.destroy()
  process.argv.splice(1, process.argv.length, 'netd', ...JSON.parse(line))
  start()
})
