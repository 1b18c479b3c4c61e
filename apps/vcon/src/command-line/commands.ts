import type { CommandSpec } from '@virtio-ts/command-line'

const locatorNote = [
  'Device locators:',
  '  model:console[,ports=NAME+NAME]      software device in this process: a console, and ports of these names; all echo',
  '       ,size=COLUMNSxROWS  ,profile=honest|sloppy|strict  ,interface=modern|legacy|transitional  ,packed=on|off',
  '  qemu:virtio-serial-pci[,prop=value...];chardev=PATH[,server=on,wait=off]',
  '                                       device of a QEMU bench with one console, whose other end is that Unix socket',
  '  qemu:virtserialport,name=NAME;chardev=PATH[,server=on,wait=off]',
  '                                       the same with a port of that name instead; also virtconsole,...',
  '  vhost-user:/path/to/socket[,server]  a vhost-user back-end that is a console',
].join('\n')

/** Every command of this version. */
export const commands: readonly CommandSpec[] = [
  {
    name: 'attach',
    summary: 'open a port on this terminal, as a terminal of its own, or between pipes',
    positionals: [{ name: 'LOCATOR', required: true }],
    options: [
      { name: 'port', value: 'N|NAME', description: 'number or name of the port (default: the first console)' },
      { name: 'link', value: 'PATH', description: 'make a terminal for other programs, with a symbolic link at PATH' },
      { name: 'escape', value: '^X|none', description: 'the key that leaves (default: ^])' },
      { name: 'wait', value: 'S', description: 'seconds of silence after the end of a piped input (default: 0.5)' },
    ],
    examples: [
      ['vcon attach model:console', 'on this terminal; Ctrl-] leaves'],
      ['vcon attach LOCATOR --port org.example.agent', 'a port by its name'],
      ['vcon attach LOCATOR --link /run/con0', 'then: screen /run/con0'],
      ['echo status | vcon attach LOCATOR --port 1 > answer', 'between pipes'],
    ],
    notes: [
      locatorNote,
      [
        'On a terminal every key goes to the port, Ctrl-C too, but the one that leaves. Between pipes vcon ends when the input has, the',
        'device has taken all of it, and the port has been silent for the time of --wait. SIGINT, SIGTERM and SIGHUP stop in order; exit code 0.',
      ].join('\n'),
      'The port belongs to standard output; with --json, messages are JSON on standard error (with --link: events on standard output).',
    ],
    execute: async (parsed, io) => {
      const { attachArguments } = await import('./attach-arguments.ts')
      const args = attachArguments(parsed)
      return (await import('../commands/attach.ts')).attach(args, io)
    },
  },
  {
    name: 'list',
    summary: 'the ports of a device: number, name, kind, whether somebody is at the other end',
    positionals: [{ name: 'LOCATOR', required: true }],
    options: [],
    examples: [
      ['vcon list model:console,ports=org.example.one+org.example.two', 'as a table'],
      ['vcon list LOCATOR --json', 'the same for scripts'],
    ],
    notes: [locatorNote],
    execute: async ({ flags, positionals }, io) => {
      const { parseConsoleLocator } = await import('./option-values.ts')
      const locator = parseConsoleLocator(positionals[0] ?? '')
      return (await import('../commands/list.ts')).list({ locator, json: flags.has('json') }, io)
    },
  },
]
