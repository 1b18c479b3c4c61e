// @ts-check
// Two disks of one Linux guest: blkd on the one, the kernel's virtio_blk and fio on the other, in turns.
import { orderOf } from '../guest/compare.mjs'
import { compareResults } from './compare-results.mjs'
import { GuestDisks } from './guest-disks.mjs'
import { blkd, fio } from './guest-tools.mjs'

const ROUNDS = 5
const QUICK_ROUNDS = 3
/** Far more than one turn of one side takes. */
const SECONDS_A_TURN = 40

/**
 * Without KVM it takes node some seconds to compile what runs often; what fio and the kernel run is compiled already.
 * @param {boolean} quick
 */
const times = (quick) => ({
  ours: { warmUp: quick ? 2 : 6, seconds: quick ? 1 : 3 },
  peer: { warmUp: 1, seconds: quick ? 1 : 3 },
})

/**
 * @param {readonly { operation: 'read' | 'write', depth: number }[]} tests
 * @param {{ kernel: string, ours: string }} images @param {boolean} quick @param {string[]} notes gets a line about the guest
 */
export async function* compareInGuest(tests, images, quick, notes) {
  const rounds = quick ? QUICK_ROUNDS : ROUNDS
  const { ours, peer } = times(quick)
  const disks = await GuestDisks.boot(images, 120 + tests.length * rounds * 2 * SECONDS_A_TURN)
  /** @param {typeof fio | typeof blkd} tool @param {string} target @param {import('./guest-tools.mjs').Load} load */
  const measure = async (tool, target, load) =>
    tool.read(await disks.run(tool.command(target, load), load.warmUp + load.seconds))
  try {
    notes.push(await disks.describe())
    for (const test of tests) {
      const sides = [
        {
          /** @type {import('./cases.mjs').Result[]} */ results: [],
          measure: () => measure(blkd, disks.targets.ours, { ...test, ...ours }),
        },
        {
          /** @type {import('./cases.mjs').Result[]} */ results: [],
          measure: () => measure(fio, disks.targets.kernel, { ...test, ...peer }),
        },
      ]
      for (let round = 0; round < rounds; round++) {
        for (const side of orderOf(sides, round)) side.results.push(await side.measure())
      }
      const [mine = [], theirs = []] = sides.map(({ results }) => results)
      yield* compareResults(`guest, ${test.operation}, depth ${test.depth}`, mine, theirs)
    }
    await disks.close()
  } finally {
    await disks.kill()
  }
}
