import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { repository, runIn } from './checkout-copy.ts'

const GUIDE = readFileSync(join(repository, 'docs/writing-a-driver.md'), 'utf8')

interface Block {
  readonly line: number
  readonly text: string
  /** The file it is taken from, which it says in its first line. */
  readonly source: string | undefined
}

function blocksOf(page: string): Block[] {
  return [...page.matchAll(/^```ts\b.*\n([\s\S]*?)^```$/gm)].map((match) => {
    const body = match[1] ?? ''
    const source = /^\/\/ from (\S+)\n/.exec(body)
    return {
      line: page.slice(0, match.index).split('\n').length,
      text: source === null ? body : body.slice(source[0].length),
      source: source?.[1],
    }
  })
}

/** Excerpts that their file does not have, word for word. */
function staleExcerpts(blocks: readonly Block[]): string[] {
  return blocks.flatMap(({ line, text, source }) => {
    if (source === undefined) return []
    const file = join(repository, source)
    if (!existsSync(file)) return [`line ${line}: ${source} does not exist`]
    // Whole lines: a line that has grown behind the excerpt's end is another line.
    return `\n${readFileSync(file, 'utf8')}`.includes(`\n${text}`) && text.trim() !== ''
      ? []
      : [`line ${line}: not in ${source}:\n${text}`]
  })
}

/** What the compiler says about the other blocks, each a module of one project, as a user's outside of this repository. */
async function compile(blocks: readonly Block[]): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'virtio-ts-guide-'))
  try {
    mkdirSync(join(folder, 'src'))
    for (const { line, text } of blocks) writeFileSync(join(folder, 'src', `line-${line}.ts`), `${text}\nexport {}\n`)
    symlinkSync(join(repository, 'node_modules'), join(folder, 'node_modules'))
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module' }))
    const compilerOptions = {
      noEmit: true,
      composite: false,
      declaration: false,
      declarationMap: false,
      isolatedDeclarations: false,
      rewriteRelativeImportExtensions: false,
      allowImportingTsExtensions: true,
    }
    const project = { extends: join(repository, 'tsconfig.base.json'), compilerOptions, include: ['src'] }
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(project))
    const { status, output } = await runIn(folder, 'tsc', '-p', '.', '--pretty', 'false')
    return status === 0 ? '' : output
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

describe('docs/writing-a-driver.md', () => {
  const blocks = blocksOf(GUIDE)

  it('has code, and every block of it is looked at', () => {
    // The list of contents and diagrams are fenced without a language.
    expect(GUIDE.match(/^```\w+/gm)?.length).toBe(blocks.length)
    expect(blocks.filter(({ source }) => source === undefined).length).toBeGreaterThanOrEqual(2)
    expect(blocks.filter(({ source }) => source !== undefined).length).toBeGreaterThanOrEqual(10)
  })

  it('quotes the sources as they are', () => {
    expect(staleExcerpts(blocks)).toEqual([])
  })

  it('has examples that compile', async () => {
    expect(await compile(blocks.filter(({ source }) => source === undefined))).toBe('')
  })

  it('links its own sections', () => {
    const headings = [...GUIDE.matchAll(/^## (.*)$/gm)].map(([, title = '']) =>
      title
        .toLowerCase()
        .replace(/[^a-z0-9 -]/g, '')
        .replaceAll(' ', '-'),
    )
    const links = [...GUIDE.matchAll(/\]\(#([^)]*)\)/g)].map(([, anchor]) => anchor)
    expect(links.filter((anchor) => !headings.includes(anchor ?? ''))).toEqual([])
    expect(headings.filter((heading) => !links.includes(heading))).toEqual([])
  })

  it('names files that exist, and new-driver as it is called', () => {
    const scripts = [...GUIDE.matchAll(/`((?:scripts|packages|test)\/[\w./-]+)`/g)].map(([, path = '']) => path)
    expect(scripts.filter((path) => !existsSync(join(repository, path)))).toEqual([])
    expect(GUIDE).toContain('npm run new-driver -- ')
    const { scripts: commands } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8'))
    expect(commands['new-driver']).toBe('node scripts/new-driver.mjs')
  })
})

describe('what looks at the guide', () => {
  it('finds an excerpt that was changed, cut short, or taken from nowhere', () => {
    const page = (source: string, text: string): string => `\`\`\`ts\n// from ${source}\n${text}\n\`\`\`\n`
    const source = 'packages/driver-rng/src/rng-driver.ts'
    const stale = (text: string, from = source): number => staleExcerpts(blocksOf(page(from, text))).length
    expect(stale("  name: 'rng',\n  deviceType: DeviceType.ENTROPY,")).toBe(0)
    expect(stale("  name: 'ring',")).toBe(1)
    expect(stale("  name: 'rng'")).toBe(1)
    expect(stale("name: 'rng',")).toBe(1)
    expect(stale("  name: 'rng',\n  features: {},")).toBe(1)
    expect(stale("  name: 'rng',", 'packages/driver-rng/src/no-such-driver.ts')).toBe(1)
  })

  it('finds an example that does not compile', async () => {
    const example = "import { RngDriver } from '@virtio-ts/driver-rng'\nRngDriver.launch()\n"
    const output = await compile([{ line: 7, text: example, source: undefined }])
    expect(output).toContain("line-7.ts(2,11): error TS2339: Property 'launch' does not exist")
  })
})
