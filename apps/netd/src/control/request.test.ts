import { describe, expect, it } from 'vitest'
import { parseRequest } from './request.ts'

describe('parseRequest', () => {
  it.each([
    ['{"request":"describe"}', { request: 'describe' }],
    ['{"request":"stats","later":1}', { request: 'stats' }],
    ['{"request":"capture"}', { request: 'capture' }],
    ['{"request":"capture","snaplen":64,"count":1}', { request: 'capture', snaplen: 64, count: 1 }],
  ])('reads %s', (line, request) => {
    expect(parseRequest(line)).toEqual(request)
  })

  it.each([
    '',
    'describe',
    'null',
    '[]',
    '"describe"',
    '{}',
    '{"request":"reset"}',
    '{"request":["describe"]}',
    '{"__proto__":{"request":"describe"}}',
    '{"request":"capture","snaplen":0}',
    '{"request":"capture","snaplen":1e9}',
    '{"request":"capture","snaplen":"64"}',
    '{"request":"capture","count":1.5}',
    '{"request":"capture","count":null}',
  ])('refuses %s', (line) => {
    expect(() => parseRequest(line)).toThrow(expect.objectContaining({ code: 'control.bad-request' }))
  })
})
