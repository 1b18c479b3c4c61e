import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { Rules } from './rules.ts'

const { sections } = JSON.parse(readFileSync(new URL('../../../docs/spec/sections.json', import.meta.url), 'utf8')) as {
  sections: Record<string, string>
}

describe('rules', () => {
  it.each(Object.entries(Rules))(
    '%s names a section of the specification by number and title',
    (_name, { section, title }) => {
      expect(sections[section]).toBe(title)
    },
  )
})
