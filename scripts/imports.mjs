// The module specifiers a TypeScript file imports: static, type-only, re-exported and dynamic.
import { readText } from './workspaces.mjs'

const IMPORT = /\b(?:from\s*|import\s*\(?\s*|new URL\(\s*)(['"])([^'"\n]+)\1/g

export function importsOf(path) {
  return [...withoutComments(readText(path)).matchAll(IMPORT)].map((match) => match[2])
}

/** `@virtio-ts/memory/heap` is `@virtio-ts/memory`; undefined for relative paths and node's own modules. */
export function packageOf(specifier) {
  if (/^(\.|\/|node:)/.test(specifier)) return undefined
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')
}

/** Comments become spaces (examples in docstrings import packages too); lines keep their numbers. */
export function withoutComments(text) {
  const pattern = /\/\*[\s\S]*?\*\/|(?<![:'"`])\/\/.*$/gm
  return text.replace(pattern, (comment) => comment.replace(/[^\n]/g, ' '))
}
