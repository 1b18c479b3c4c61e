import { readFileSync } from 'node:fs'

/** The version in this package's package.json, which lies two levels up from here in `src` and in `dist`. */
export function netdVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return String((JSON.parse(text) as { version?: unknown }).version)
}
