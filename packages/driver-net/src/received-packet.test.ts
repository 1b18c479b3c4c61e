import { expect, it } from 'vitest'
import { RECEIVED_HEAD_LENGTH, ReceivedPacket } from './received-packet.ts'

it('begins with a header that says nothing, whatever the last driver with this memory left there', () => {
  const head = new Uint8Array(RECEIVED_HEAD_LENGTH).fill(7)
  expect([...new ReceivedPacket(new Uint8Array(0), head, 1).header]).toEqual(Array.from({ length: 12 }, () => 0))
})
