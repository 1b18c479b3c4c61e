import { spawnSync } from 'node:child_process'
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

/**
 * Every check of `npm run check` can fail: each is run on a copy of the repository with one violation in it, and has to
 * name it. A check that cannot fail is worse than none.
 */
const root = fileURLToPath(new URL('..', import.meta.url))
let copy: string

beforeAll(() => {
  copy = mkdtempSync(join(tmpdir(), 'virtio-ts-checks-'))
  const left = new Set(['node_modules', 'dist', '.turbo', '.git', 'coverage'])
  cpSync(root, copy, { recursive: true, filter: (path) => !left.has(path.split('/').at(-1) ?? '') })
  linkNodeModules()
})
afterAll(() => rmSync(copy, { recursive: true, force: true }))

/** What is installed, except that `@virtio-ts/*` are the copy's own packages. */
function linkNodeModules(): void {
  mkdirSync(join(copy, 'node_modules/@virtio-ts'), { recursive: true })
  for (const name of readdirSync(join(root, 'node_modules'))) {
    if (name !== '@virtio-ts' && name !== '.cache')
      symlinkSync(join(root, 'node_modules', name), join(copy, 'node_modules', name))
  }
  for (const folder of ['packages', 'apps']) {
    for (const name of readdirSync(join(copy, folder))) {
      symlinkSync(join(copy, folder, name), join(copy, 'node_modules/@virtio-ts', name))
    }
  }
}

function check(name: string): { readonly passed: boolean; readonly output: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['scripts/check.mjs', name], {
    cwd: copy,
    encoding: 'utf8',
  })
  return { passed: status === 0, output: `${stdout}${stderr}` }
}

/** Puts `text` into a new file, or at the end of one that exists, and takes it out again. */
function withText<Result>(path: string, text: string, body: () => Result): Result {
  const file = join(copy, path)
  let before: string | undefined
  try {
    before = readFileSync(file, 'utf8')
    appendFileSync(file, text)
  } catch {
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, text)
  }
  try {
    return body()
  } finally {
    if (before === undefined) rmSync(file)
    else writeFileSync(file, before)
  }
}

/** Edits a JSON file and restores it. */
function withJson<Result>(path: string, edit: (document: Record<string, never>) => void, body: () => Result): Result {
  const file = join(copy, path)
  const before = readFileSync(file, 'utf8')
  const document = JSON.parse(before) as Record<string, never>
  edit(document)
  writeFileSync(file, JSON.stringify(document, null, 2))
  try {
    return body()
  } finally {
    writeFileSync(file, before)
  }
}

describe('a file with a violation', () => {
  it.each([
    [
      'types',
      'packages/spec/src/seeded.ts',
      "export const wrong: number = 'text'\n",
      "Type 'string' is not assignable",
    ],
    [
      'test-types',
      'test/seeded.test.ts',
      "const wrong: number = 'text'\nvoid wrong\n",
      "Type 'string' is not assignable",
    ],
    [
      'lint',
      'packages/spec/src/seeded.ts',
      'async function work() {}\nexport function start() {\n  work()\n}\n',
      'no-floating-promises',
    ],
    [
      'lint',
      'packages/spec/src/seeded.test.ts',
      "import { it } from 'vitest'\nit.skip('x', () => {})\n",
      'no-disabled-tests',
    ],
    ['format', 'packages/spec/src/seeded.ts', 'export const   a = "b";\n', 'seeded.ts'],
    ['layers-dependencies', 'packages/driver-rng/src/seeded.ts', "import '@virtio-ts/pci'\n", 'does not declare'],
    ['layers-boundaries', 'packages/driver-rng/src/seeded.ts', "import '@virtio-ts/pci'\n", 'not a dependency'],
    [
      'layers-exports',
      'packages/driver-rng/src/seeded.ts',
      "import '@virtio-ts/core/src/initialize.ts'\n",
      'is not an entry',
    ],
    [
      'layers-exports',
      'packages/driver-rng/src/seeded.ts',
      "import '../../core/src/initialize.ts'\n",
      'reaches into another package',
    ],
    ['layers-imports', 'packages/tap/src/seeded.ts', "import 'koffi'\n", 'one-importer-of-koffi'],
    [
      'layers-imports',
      'packages/device-models/src/seeded.ts',
      "import '@virtio-ts/virtqueue'\n",
      'device-models-share-no-ring-code',
    ],
    [
      'layers-imports',
      'packages/device-models/src/seeded.ts',
      "import type { Transport } from '@virtio-ts/core'\nexport type T = Transport\n",
      'device-models-share-no-ring-code',
    ],
    [
      'layers-imports',
      'packages/driver-net/src/seeded.ts',
      "import '@virtio-ts/transport-pci'\n",
      'drivers-know-no-bus',
    ],
    [
      'layers-imports',
      'packages/driver-net/src/seeded.ts',
      "import '@virtio-ts/driver-rng'\n",
      'drivers-know-no-other-driver',
    ],
    ['layers-imports', 'packages/core/src/seeded.ts', "import '@virtio-ts/memory/memfd'\n", 'pure-without-koffi'],
    ['layers-imports', 'packages/virtqueue/src/seeded.ts', "import 'node:fs'\n", 'pure-without-node'],
    ['layers-imports', 'packages/memory/src/dma.ts', "import './memfd.ts'\n", 'pure-without-koffi'],
    [
      'layers-imports',
      'packages/transport-pci/src/seeded.ts',
      "import '@virtio-ts/driver-rng'\n",
      'transports-know-no-driver',
    ],
    ['layers-imports', 'packages/spec/src/seeded.ts', "import './seeded-too.ts'\n", 'resolvable'],
    ['cycles', 'packages/spec/src/status.ts', "import './index.ts'\n", 'these import each other'],
    ['structure', 'packages/spec/src/index.ts', "export * from './status.ts'\n", 'exports with *'],
    ['names', 'packages/spec/src/utils.ts', 'export const a = 1\n', 'name the file after what it exports'],
    ['names', 'packages/spec/src/seeded.ts', 'export const kickQueue = 1\n', 'say notify'],
    [
      'citations',
      'packages/spec/src/seeded.ts',
      '// VIRTIO 1.3 § 2.7 "Split Virtqueue"\n',
      '§ 2.7 is "Split Virtqueues"',
    ],
    [
      'citations',
      'packages/spec/src/seeded.ts',
      '// VIRTIO 1.2 § 2.7 "Split Virtqueues"\n',
      'this project cites VIRTIO 1.3',
    ],
    ['citations', 'packages/spec/src/seeded.test.ts', "it('§ 2.99.1 does a thing')\n", 'no § 2.99.1'],
    ['ledger', 'docs/conformance.md', '| `2.1.1/99` | Nothing. |  |  | not yet |\n', 'is not a requirement'],
    [
      'ledger',
      'docs/conformance.md',
      '| `2.1.1/98` | Nothing. | `no-such-file.ts` | `x.test.ts › y` | met |\n',
      'no-such-file.ts does not exist',
    ],
    [
      'errors',
      'packages/core/src/seeded.ts',
      "throw new VirtioError('device.on-fire', 'x')\n",
      'device.on-fire is not in',
    ],
    ['errors', 'docs/errors.md', '| `device.on-fire` | x | y |\n', 'nothing uses device.on-fire'],
    [
      'examples',
      'README.md',
      "\n```ts\nimport { nothing } from '@virtio-ts/spec'\n```\n",
      "no exported member 'nothing'",
    ],
    ['links', 'README.md', '\n[x](docs/nowhere.md)\n', 'docs/nowhere.md does not exist'],
    ['unused-code', 'packages/spec/src/seeded.ts', 'export const a = 1\n', 'Unused files'],
  ])('fails %s: %s', (name, path, text, message) => {
    const { passed, output } = withText(path, text, () => check(name))
    expect(output).toContain(message)
    expect(passed).toBe(false)
  })
})

describe('a manifest with a violation', () => {
  it.each([
    [
      'layers-dependencies',
      'packages/core/package.json',
      { dependencies: { '@virtio-ts/native': '0.0.0' } },
      'may not depend on',
    ],
    ['layers-boundaries', 'packages/spec/package.json', { dependencies: { '@virtio-ts/core': '0.0.0' } }, 'layer-0'],
    ['layers-dependencies', 'packages/core/turbo.json', { tags: ['layer-1'] }, 'tags'],
    ['layers-exports', 'packages/core/package.json', { exports: { './*': './src/*' } }, 'deep paths'],
    ['structure', 'packages/core/package.json', { description: '' }, 'no description'],
    ['versions', 'packages/core/package.json', { devDependencies: { vitest: '4.0.0' } }, 'vitest'],
    [
      'lockfile',
      'package-lock.json',
      { packages: { 'node_modules/seeded': { optionalDependencies: { 'no-such-thing': '1.0.0' } } } },
      'no-such-thing',
    ],
  ])('fails %s: %s', (name, path, change, message) => {
    const merge = (document: Record<string, never>): void => {
      for (const [key, value] of Object.entries(change)) {
        const merged =
          typeof value === 'object' && !Array.isArray(value)
            ? { ...(document[key] as object | undefined), ...value }
            : value
        document[key] = merged as never
      }
    }
    const { passed, output } = withJson(path, merge, () => check(name))
    expect(output).toContain(message)
    expect(passed).toBe(false)
  })
})

describe('the repository as it is', () => {
  it('passes the checks that were seen failing', () => {
    const { output, passed } = check('names')
    expect(output).toContain('ok')
    expect(passed).toBe(true)
  })
})
