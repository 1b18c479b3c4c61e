// @ts-check
// Runs a folder of tests in one boot of a Linux guest, and prints what they say:
//   node scripts/guest/run.mjs FOLDER [--timeout=60] [--iommu] [--hugepages=N] [--block] [--coverage=DIRECTORY] [-- QEMU arguments ...]
// Exit code: 0 all passed, 1 some failed or the kernel complained, 2 usage, 124 no end within the timeout, 125 no verdict (a panic, no guest).
import { parseArgs } from 'node:util'
import { GuestError } from './guest-error.mjs'
import { bootGuest } from './linux-guest.mjs'
import { runTests, testFolder } from './run-tests.mjs'

const CODES = { 'guest.complaint': 1, 'guest.timeout': 124, 'guest.command-timeout': 124 }

process.exitCode = await main(process.argv.slice(2))

/** @param {readonly string[]} argv @returns {Promise<number>} */
async function main(argv) {
  const end = argv.indexOf('--')
  const [ours, qemuArguments] = end < 0 ? [argv, []] : [argv.slice(0, end), argv.slice(end + 1)]
  let parsed
  try {
    parsed = parseArgs({
      args: [...ours],
      allowPositionals: true,
      options: {
        timeout: { type: 'string', default: '60' },
        iommu: { type: 'boolean', default: false },
        hugepages: { type: 'string', default: '0' },
        block: { type: 'boolean', default: false },
        coverage: { type: 'string' },
      },
    })
  } catch (error) {
    return usage(error instanceof Error ? error.message : String(error))
  }
  const { values, positionals } = parsed
  const [folder] = positionals
  const [timeout, hugepages] = [Number(values.timeout), Number(values.hugepages)]
  if (folder === undefined || positionals.length > 1) return usage('name one folder of tests')
  if (!(timeout > 0) || !Number.isInteger(hugepages) || hugepages < 0) return usage('a number is needed')
  const interrupted = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => interrupted.abort(new Error(signal)))
  try {
    const guest = await bootGuest({
      qemuArguments,
      iommu: values.iommu,
      hugepages,
      parts: values.block ? ['block'] : [],
      files: [testFolder(folder)],
      timeoutSeconds: timeout,
      signal: interrupted.signal,
    })
    try {
      const onOutput = (/** @type {string} */ text) => process.stdout.write(text)
      const coverage = values.coverage !== undefined
      const { code } = await runTests(guest, folder, { timeoutSeconds: timeout, coverage, onOutput })
      if (values.coverage !== undefined) await guest.collectCoverage(values.coverage)
      await guest.shutdown()
      return code === 0 ? 0 : 1
    } finally {
      await guest.kill()
    }
  } catch (error) {
    if (!(error instanceof GuestError)) throw error
    console.error(`${error.code}: ${error.message}`)
    return CODES[/** @type {keyof typeof CODES} */ (error.code)] ?? 125
  }
}

/** @param {string} problem @returns {number} */
function usage(problem) {
  console.error(
    `${problem}\nusage: node scripts/guest/run.mjs FOLDER [--timeout=60] [--iommu] [--hugepages=N] [--block]`,
  )
  console.error('         [--coverage=DIRECTORY] [-- QEMU arguments ...]')
  return 2
}
