import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

/** What an entry imports that is not a file of this package, whichever way it gets there. */
function foreignImports(entry: string): string[] {
  const foreign = new Set<string>()
  const seen = new Set<string>()
  const visit = (url: URL): void => {
    if (seen.has(url.href)) return
    seen.add(url.href)
    for (const [, specifier] of readFileSync(url, 'utf8').matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)) {
      if (specifier?.startsWith('.') === true) visit(new URL(specifier, url))
      else if (specifier !== undefined) foreign.add(specifier)
    }
  }
  visit(new URL(entry, import.meta.url))
  return [...foreign].sort()
}

describe('the entries of this package', () => {
  // Whoever only names the contracts, or runs the models, must not need a native library.
  it('need no native code for contracts and ordinary memory', () => {
    expect(foreignImports('index.ts')).toEqual([])
    expect(foreignImports('heap.ts')).toEqual([])
  })

  it('reach native code from the entries for shared memory only', () => {
    expect(foreignImports('memfd.ts')).toEqual(['@virtio-ts/native'])
    expect(foreignImports('hugetlb.ts')).toEqual(['@virtio-ts/native', 'node:fs'])
  })
})
