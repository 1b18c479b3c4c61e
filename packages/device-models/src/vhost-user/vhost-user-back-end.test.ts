import { openFdCount } from '@virtio-ts/native'
import { afterEach, describe, expect, it } from 'vitest'
import { NetModel } from '../net/net-model.ts'
import { RngModel } from '../rng-model.ts'
import { RawFrontEnd, settle, until } from './raw-front-end.fixture.ts'
import { VhostUserBackEnd } from './vhost-user-back-end.ts'

const VERSION_1 = 1n << 32n
const MQ_ACK_STATUS = (1n << 0n) | (1n << 3n) | (1n << 16n)

describe('VhostUserBackEnd', () => {
  it('gives random bytes', async () => {
    const { mine, theirs } = RawFrontEnd.pair()
    const backEnd = VhostUserBackEnd.attach(new RngModel({ source: (into) => into.fill(7) }), theirs)
    const { offered, protocol } = await mine.begin(VERSION_1, 0n)
    expect([offered.toString(16), protocol.toString(16)]).toEqual(['170000000', '1b029'])
    const queue = mine.split(0, 8)
    const buffer = mine.dma.allocate(16)
    queue.descriptor(3, buffer.deviceAddress, 16, 2)
    queue.offer(3)
    mine.notify(0)
    await until(() => mine.signals(mine.usedFds[0]) > 0, 'used')
    expect(queue.takeUsed()).toEqual([{ id: 3, len: 16 }])
    expect([...buffer.bytes]).toEqual(Array(16).fill(7))
    expect(backEnd.violations).toEqual([])
    mine.dma.free(buffer)
    mine.dma.free(queue.region)
    mine.close()
    await until(() => backEnd.session === undefined, 'gone')
    backEnd.close()
  })
})
