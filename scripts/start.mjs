// `npm start`: installs, builds and runs netd in this very process, so that its output, signals and exit code are its own.
//   npm start                         netd demo
//   npm start -- run model:net        netd run model:net
import { fileURLToPath } from 'node:url'
import { installDependencies } from './install-dependencies.mjs'
import { runOrThrow } from './run-quietly.mjs'

try {
  await installDependencies()
  await runOrThrow('Building', 'turbo', ['run', 'build', '--output-logs=errors-only', '--ui=stream'])
} catch (error) {
  console.error(error.message)
  process.exit(1)
}

const netd = new URL('../apps/netd/bin/netd.js', import.meta.url)
const args = process.argv.slice(2)
process.argv = [process.execPath, fileURLToPath(netd), ...(args.length > 0 ? args : ['demo'])]
await import(netd.href)
