import { readFileSync } from 'node:fs'

/**
 * The version in a package's package.json.
 * @param moduleUrl `import.meta.url` of a module right in its `src` or `dist`
 */
export function packageVersion(moduleUrl: string): string {
  const text = readFileSync(new URL('../package.json', moduleUrl), 'utf8')
  return String((JSON.parse(text) as { version?: unknown }).version)
}
