import { CommandError } from '@virtio-ts/command-line'
import type { ControlRequest } from './protocol.ts'

function bad(why: string): CommandError {
  return new CommandError('control.bad-request', `bad request: ${why}`)
}

function optionalCount(value: unknown, name: string, max: number): number | undefined {
  if (value === undefined) return undefined
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= max) return value
  throw bad(`${name} is a whole number from 1 to ${max}`)
}

/** Reads one line of a client's. @throws CommandError `control.bad-request` */
export function parseRequest(line: string): ControlRequest {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    throw bad('not JSON')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad('not an object')
  const { request, snaplen, count } = value as Record<string, unknown>
  switch (request) {
    case 'describe':
    case 'stats':
      return { request }
    case 'capture': {
      const bytes = optionalCount(snaplen, 'snaplen', 262144)
      const packets = optionalCount(count, 'count', 2 ** 32)
      return {
        request,
        ...(bytes === undefined ? {} : { snaplen: bytes }),
        ...(packets === undefined ? {} : { count: packets }),
      }
    }
    default:
      throw bad('request is describe, stats or capture')
  }
}
