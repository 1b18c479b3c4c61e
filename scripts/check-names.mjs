// Names: files are kebab-case with a purpose of their own, and identifiers use the specification's words, one each
// (CONTRIBUTING.md, "Words"). Constants in capitals keep the specification's spelling (VIRTIO_PCI_CAP_COMMON_CFG).
import { basename } from 'node:path'
import { withoutComments } from './imports.mjs'
import { filesBelow, readText, report } from './workspaces.mjs'

const VAGUE = ['utils', 'util', 'helpers', 'helper', 'common', 'types', 'misc', 'shared']
const INSTEAD = {
  kick: 'notify',
  doorbell: 'notify',
  vring: 'virtqueue',
  cfg: 'config',
  slave: 'backEnd',
}
/** Names of other specifications as they are spelled there: QEMU's ivshmem-doorbell, register names (pci_cfg_data). */
const FOREIGN = /^doorbell$|ivshmem|_/i
const IDENTIFIER = /[A-Za-z_$][\w$]*/g
const STRING = /'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\$]|\\.|\$(?!\{))*`/g

const problems = []
const files = ['packages', 'apps', 'test', 'bench', 'examples', 'templates'].flatMap((folder) =>
  filesBelow(folder, /\.(ts|mjs)$/),
)
for (const path of files) {
  const stem = basename(path).split('.')[0]
  if (!/^[a-z0-9]+(-[a-z0-9]+)*$/.test(stem)) problems.push(`${path}: file names are kebab-case`)
  if (VAGUE.includes(stem)) problems.push(`${path}: name the file after what it exports`)

  const code = withoutComments(readText(path)).replace(STRING, (text) => text.replace(/[^\n]/g, ' '))
  for (const [index, line] of code.split('\n').entries()) {
    for (const [identifier] of line.matchAll(IDENTIFIER)) {
      if (identifier === identifier.toUpperCase() || FOREIGN.test(identifier)) continue
      const words = identifier.split(/(?<=[a-z0-9])(?=[A-Z])/).map((word) => word.toLowerCase())
      const banned = Object.keys(INSTEAD).find((word) => words.includes(word))
      if (banned !== undefined)
        problems.push(`${path}:${index + 1}: ${identifier}: say ${INSTEAD[banned]}, not ${banned}`)
      if (/VirtIO/.test(identifier)) problems.push(`${path}:${index + 1}: ${identifier}: spell it Virtio`)
    }
  }
}
report(problems, `names in ${files.length} files`)
