import { describe, expect, it } from 'vitest'
import { checkTapName } from './tap-name.ts'

describe('checkTapName', () => {
  it.each(['tap0', 'a', 'vm-1.net_2', 'exactly15bytes_', 'virtio%d', '%d'])('takes %j', (name) => {
    expect(() => checkTapName(name)).not.toThrow()
  })

  it.each([
    ['', 'it is empty'],
    ['sixteen_bytes_xx', 'it has 16 bytes'],
    ['ääääääää', 'it has 16 bytes'],
    ['.', 'it is a folder'],
    ['..', 'it is a folder'],
    ['a/b', "it has '/'"],
    ['a:b', "':'"],
    ['a b', 'a space'],
    ['a\n', 'a space'],
    ['a\0b', 'control character'],
    ['tap%s', "it has a '%'"],
    ['%d%d', 'two of them'],
    ['tap%', "it has a '%'"],
  ])('refuses %j and says that %s', (name, problem) => {
    expect(() => checkTapName(name)).toThrow(
      expect.objectContaining({
        name: 'TapError',
        code: 'tap.name-invalid',
        message: expect.stringMatching(new RegExp(`${problem}.*Use 1 to 15 letters`)),
      }),
    )
  })
})
