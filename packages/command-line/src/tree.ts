/** A node of a tree: its label, lines about it, and what hangs below. */
export interface TreeNode {
  readonly label: string
  readonly lines?: readonly string[]
  readonly children?: readonly TreeNode[]
}

/** Breaks `line` at spaces so that it is at most `width` wide; what follows the first line is indented to stand below its text. */
function wrap(line: string, width: number): string[] {
  if (line.length <= width) return [line]
  const indent = ' '.repeat(Math.min(line.indexOf(': ') + 2, 12))
  const lines: string[] = []
  let current = ''
  for (const word of line.split(' ')) {
    const longer = current === '' ? word : `${current} ${word}`
    if (longer.length > width && current.trim() !== '') {
      lines.push(current)
      current = `${indent}${word}`
    } else current = longer
  }
  return [...lines, current]
}

/**
 * Draws a tree with lines:
 * ```
 * root
 * │  a line about it
 * ├─ first child
 * └─ last child
 *    └─ grandchild
 * ```
 * @param width columns to break lines at; never less than 40
 * @returns without a final line feed
 */
export function renderTree(root: TreeNode, width: number = Number.POSITIVE_INFINITY): string {
  const output: string[] = []
  const draw = (node: TreeNode, first: string, rest: string): void => {
    const children = node.children ?? []
    output.push(`${first}${node.label}`)
    const gutter = `${rest}${children.length > 0 ? '│' : ' '}  `
    for (const line of node.lines ?? []) {
      for (const piece of wrap(line, Math.max(width, 40) - gutter.length)) output.push(`${gutter}${piece}`)
    }
    for (const [index, child] of children.entries()) {
      const isLast = index === children.length - 1
      draw(child, `${rest}${isLast ? '└─ ' : '├─ '}`, `${rest}${isLast ? '   ' : '│  '}`)
    }
  }
  draw(root, '', '')
  return output.join('\n')
}
