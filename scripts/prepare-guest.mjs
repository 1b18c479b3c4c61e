// Makes the Linux guest of the system tests, so that no test has to wait for it. Where it cannot it says why; the suites that need the
// guest then skip themselves or fail, loudly.
import { fileURLToPath } from 'node:url'
import { guestProblem } from './guest/guest-needs.mjs'
import { runOrThrow } from './run-quietly.mjs'

export async function prepareGuest() {
  if (guestProblem() !== undefined) return
  try {
    await makeImage()
  } catch (error) {
    if (process.getuid?.() !== 0) return console.error(error.message)
    // Lists that are missing, or so old that the archive has newer versions only.
    try {
      await runOrThrow('Updating the package index', 'apt-get', ['update'], {
        env: { DEBIAN_FRONTEND: 'noninteractive' },
      })
      await makeImage()
    } catch (again) {
      console.error(again.message)
    }
  }
}

async function makeImage() {
  await runOrThrow('Making the Linux guest', 'node', ['scripts/guest/guest-image.mjs'])
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await prepareGuest()
