// `turbo boundaries` over the sources without the tests: it has no way to leave files out, and tests are exempt from
// the layer rules (a driver is tested on a transport and a device model). So it looks at a copy.
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { root, sourceFiles, workspaces } from './workspaces.mjs'

const copy = mkdtempSync(join(tmpdir(), 'virtio-ts-boundaries-'))
try {
  const manifests = workspaces().flatMap(({ directory }) => [`${directory}/package.json`, `${directory}/turbo.json`])
  const sources = workspaces().flatMap(({ directory }) => sourceFiles(directory))
  for (const path of ['package.json', 'package-lock.json', 'turbo.json', ...manifests, ...sources]) {
    mkdirSync(dirname(join(copy, path)), { recursive: true })
    cpSync(join(root, path), join(copy, path))
  }
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))

  const turbo = spawnSync(join(root, 'node_modules/.bin/turbo'), ['boundaries', '--no-color', '--skip-infer'], {
    cwd: copy,
    encoding: 'utf8',
    env: { ...process.env, TURBO_TELEMETRY_DISABLED: '1', TURBO_NO_UPDATE_NOTIFIER: '1' },
  })
  const output = `${turbo.stdout ?? ''}${turbo.stderr ?? ''}`.replaceAll(copy, root)
  const checked = Number(/Checked (\d+) files/.exec(output)?.[1] ?? 0)
  // A run that saw no sources has checked nothing: sources.length counts what it should have looked at.
  const blind = checked < sources.length
  if (turbo.status !== 0 || blind) console.error(output || String(turbo.error))
  if (blind) console.error(`turbo boundaries looked at ${checked} files, expected ${sources.length}`)
  process.exitCode = turbo.status === 0 && !blind ? 0 : 1
} finally {
  rmSync(copy, { recursive: true, force: true })
}
