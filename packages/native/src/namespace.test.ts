import { readlinkSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { expect, it } from 'vitest'
import { requirement } from '../../../test/requirements.ts'
import { enterNewNetworkNamespace } from './namespace.ts'

const isRoot = process.geteuid?.() === 0

requirement('root')('enterNewNetworkNamespace, as root', () => {
  it('leaves every network interface behind', () => {
    const old = readlinkSync('/proc/thread-self/ns/net')
    enterNewNetworkNamespace()
    expect(readlinkSync('/proc/thread-self/ns/net')).not.toBe(old)
    expect(networkInterfaces()).toEqual({})
  })
})

it('enterNewNetworkNamespace says that it needs privileges', () => {
  if (isRoot) process.seteuid?.('nobody')
  try {
    expect(() => enterNewNetworkNamespace()).toThrow(
      expect.objectContaining({ code: 'EPERM', syscall: 'unshare(CLONE_NEWNET)' }),
    )
  } finally {
    if (isRoot) process.seteuid?.(0)
  }
})
