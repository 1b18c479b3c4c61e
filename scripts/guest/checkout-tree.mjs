// @ts-check
// The project's packages, built, as they lie in the guest: /virtio-ts, with each app's command on PATH.
import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { root, workspaces } from '../workspaces.mjs'
import { entriesBelow } from './cpio.mjs'
import { GuestError } from './guest-error.mjs'

/** Where the checkout is in the guest. */
export const CHECKOUT = '/virtio-ts'

/** @typedef {import('./cpio.mjs').Entry} Entry */

/** @returns {Entry[]} @throws GuestError `guest.not-built` when `dist` is missing or older than the sources */
export function checkoutTree() {
  const all = workspaces()
  const stale = all.filter(({ directory }) => isStale(join(root, directory))).map(({ directory }) => directory)
  if (stale.length > 0) {
    throw new GuestError(
      'guest.not-built',
      `the guest runs what is built, and dist is missing or older than src in ${stale.join(', ')}: run 'npx tsc -b' first`,
    )
  }
  const external = new Map(all.flatMap(({ directory, manifest }) => dependencies(join(root, directory), manifest)))
  return [
    ...all.flatMap(({ directory, manifest }) => [
      ...workspaceFiles(directory),
      { path: join(CHECKOUT, 'node_modules', manifest.name), target: join(CHECKOUT, directory) },
      ...Object.entries(manifest.bin ?? {}).flatMap(([command, file]) => {
        const target = join(CHECKOUT, directory, String(file))
        return [
          { path: `/usr/bin/${command}`, target },
          { path: join(CHECKOUT, 'node_modules/.bin', command), target },
        ]
      }),
    ]),
    ...[...external].flatMap(([name, folder]) => entriesBelow(folder, join(CHECKOUT, 'node_modules', name), isNeeded)),
  ]
}

/** @param {string} directory @returns {Entry[]} */
function workspaceFiles(directory) {
  const to = join(CHECKOUT, directory)
  const built = (/** @type {string} */ path) => /\.(js|json)$/.test(path) && !path.endsWith('.tsbuildinfo')
  const folders = ['dist', 'bin'].filter((name) => existsSync(join(root, directory, name)))
  return [
    { path: join(to, 'package.json'), from: join(root, directory, 'package.json') },
    ...folders.flatMap((name) =>
      entriesBelow(join(root, directory, name), join(to, name), built).map((entry) =>
        name === 'bin' ? { ...entry, mode: 0o755 } : entry,
      ),
    ),
  ]
}

/** Compares the newest source with what the compiler writes at the end of each build. @param {string} directory */
function isStale(directory) {
  const stamp = join(directory, 'dist/.tsbuildinfo')
  if (!existsSync(stamp)) return true
  const built = statSync(stamp).mtimeMs
  return readdirSync(join(directory, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && !/\.(test|fixture)(-d)?\.ts$|(^|\/)testing\//.test(path))
    .some((path) => statSync(join(directory, 'src', path)).mtimeMs > built)
}

/**
 * The packages from elsewhere that one needs on Linux on x64, and where they are.
 * @param {string} directory @param {any} manifest @returns {[string, string][]}
 */
function dependencies(directory, manifest) {
  const names = Object.keys(manifest.dependencies ?? {}).filter((name) => !name.startsWith('@virtio-ts/'))
  const native = Object.keys(manifest.optionalDependencies ?? {}).filter((name) => name.endsWith('-linux-x64'))
  return [...names, ...native].flatMap((name) => {
    const found = installed(name, directory)
    return [[name, found], ...dependencies(found, JSON.parse(readFileSync(join(found, 'package.json'), 'utf8')))]
  })
}

/** @param {string} name @param {string} from @returns {string} its folder */
function installed(name, from) {
  const paths = createRequire(join(realpathSync(from), 'package.json')).resolve.paths(name) ?? []
  const folder = [...paths, join(root, 'node_modules')].map((path) => join(path, name)).find((path) => existsSync(path))
  if (folder === undefined) throw new GuestError('guest.not-built', `${name} is not installed: run 'npm ci' first`)
  return realpathSync(folder)
}

/** Neither sources nor documentation nor binaries for other C libraries. @param {string} path */
function isNeeded(path) {
  return /\.(js|cjs|mjs|json|node)$/.test(path) && !/^(doc|vendor|build|test|musl_\w+)\//.test(path)
}
