// @ts-check
// What is measured: commands for the guest, and what is read from what they say.

/** Bytes of a small packet's payload: with the headers of UDP, IP and Ethernet a frame of 60. */
const SMALL_PAYLOAD = 18
const PINGS = 100

/**
 * One turn: a command for the guest (`quick`: one second of it instead of four), and what it says, a figure for each of `figures`.
 * @typedef {object} Measure
 * @property {string} word on the command line
 * @property {readonly { name: string, unit: string }[]} figures
 * @property {(to: string, quick: boolean) => string[]} command
 * @property {(stdout: string) => number[]} read
 */

/** @param {string} to @param {boolean} quick @param {string[]} more */
const iperf = (to, quick, ...more) => ['iperf3', '--client', to, '--json', '--time', quick ? '1' : '4', ...more]
const udp = ['--udp', '--bitrate', '0', '--length', String(SMALL_PAYLOAD)]

/** @type {readonly Measure[]} */
export const measures = [
  {
    word: 'tcp-out',
    figures: [{ name: 'TCP from the guest', unit: 'Mbit/s' }],
    command: (to, quick) => iperf(to, quick),
    read: (stdout) => [bitsReceived(stdout)],
  },
  {
    word: 'tcp-in',
    figures: [{ name: 'TCP to the guest', unit: 'Mbit/s' }],
    command: (to, quick) => iperf(to, quick, '--reverse'),
    read: (stdout) => [bitsReceived(stdout)],
  },
  {
    word: 'udp-out',
    figures: [{ name: 'small packets from the guest', unit: 'kpps' }],
    command: (to, quick) => iperf(to, quick, ...udp),
    read: (stdout) => [packetsReceived(stdout)],
  },
  {
    word: 'udp-in',
    figures: [{ name: 'small packets to the guest', unit: 'kpps' }],
    command: (to, quick) => iperf(to, quick, ...udp, '--reverse'),
    read: (stdout) => [packetsReceived(stdout)],
  },
  {
    word: 'ping',
    figures: [
      { name: 'ping, average', unit: 'µs' },
      { name: 'ping, shortest', unit: 'µs' },
    ],
    command: (to, quick) => ['ping', '-q', '-c', String(quick ? PINGS / 4 : PINGS), '-i', '0.02', '-w', '20', to],
    read: roundTrips,
  },
]

/** @param {string} stdout of iperf3 @returns {any} the end's sums */
function ending(stdout) {
  const report = JSON.parse(stdout)
  if (typeof report.error === 'string') throw new Error(`iperf3: ${report.error}`)
  return report.end
}

/** @param {string} stdout @returns {number} megabits a second where they arrived */
function bitsReceived(stdout) {
  return ending(stdout).sum_received.bits_per_second / 1e6
}

/**
 * By the bytes: iperf3's own count of packets is the sender's where the guest receives.
 * @param {string} stdout @returns {number} thousands of packets a second where they arrived
 */
function packetsReceived(stdout) {
  const { bytes, seconds } = ending(stdout).sum_received
  return bytes / SMALL_PAYLOAD / seconds / 1e3
}

/** @param {string} stdout of iputils' ping @returns {number[]} average and shortest round trip in microseconds */
function roundTrips(stdout) {
  const [, shortest, average] = /^rtt [^=]*= ([\d.]+)\/([\d.]+)\//m.exec(stdout) ?? []
  if (shortest === undefined || average === undefined) throw new Error(`ping had no answer: ${stdout.trim()}`)
  return [Number(average) * 1e3, Number(shortest) * 1e3]
}
