import { describe, expect, it } from 'vitest'
import { choosePort } from './choose-port.ts'

const port = (
  id: number,
  name?: string,
  isConsole = false,
): { id: number; name: string | undefined; isConsole: boolean } => ({
  id,
  name,
  isConsole,
})
const ports = [port(1, 'one'), port(2, '1'), port(3, undefined, true), port(4, 'one')]

describe('choosePort', () => {
  it('by number, by name, a number as a name where there is no such number', () => {
    expect(choosePort(ports, 2)).toBe(ports[1])
    expect(choosePort(ports, 'one')).toBe(ports[0])
    expect(choosePort([port(2, '7')], 7).id).toBe(2)
    expect(choosePort(ports, 1)).toBe(ports[0])
  })

  it('the first console, or else the first port, where nothing is asked for', () => {
    expect(choosePort(ports, undefined)).toBe(ports[2])
    expect(choosePort([port(5), port(6)], undefined).id).toBe(5)
  })

  it('says which ports there are', () => {
    expect(() => choosePort(ports, 'two')).toThrow(
      expect.objectContaining({
        code: 'console.no-port',
        why: ['it has', '  port 1 "one"', '  port 2 "1"', '  port 3 (console)', '  port 4 "one"'],
        fix: '--port one',
      }),
    )
    expect(() => choosePort([], undefined)).toThrow(expect.objectContaining({ why: ['it has none at all'] }))
  })
})
