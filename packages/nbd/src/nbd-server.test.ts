import { describe, expect, it } from 'vitest'
import { MemoryDisk } from './memory-disk.fixture.ts'
import { ServedDisk, until } from './served-disk.fixture.ts'

const ESHUTDOWN = 108

describe('closing the server', () => {
  it('answers what is under way, refuses what comes, then hangs up', async () => {
    const disk = new MemoryDisk(65536)
    await using served = await ServedDisk.start([disk])
    const client = await served.open()
    const idle = await served.open()
    const negotiating = served.connect()
    await negotiating.greet()
    disk.hold()
    const cookie = client.request(1, 0, 4, { data: Buffer.from('late') })
    await until(() => disk.held === 1)
    const closed = served.server.close(5000)
    const refused = client.request(0, 0, 512)
    expect(await client.reply()).toMatchObject({ cookie: refused, error: ESHUTDOWN })
    await idle.untilEnded()
    await negotiating.untilEnded()
    expect(client.ended).toBe(false)
    disk.letGo()
    expect(await client.reply()).toMatchObject({ cookie, error: 0 })
    await client.untilEnded()
    await closed
    expect(disk.bytes.toString('latin1', 0, 4)).toBe('late')
    expect(served.server.clients).toBe(0)
  })

  it('does not wait longer than it is told', async () => {
    const disk = new MemoryDisk(65536)
    await using served = await ServedDisk.start([disk])
    const client = await served.open()
    disk.hold()
    client.request(3, 0, 0)
    await until(() => disk.held === 1)
    await served.server.close(50)
    await client.untilEnded()
    disk.letGo()
    await until(() => served.server.clients === 0)
  })

  it('does not wait for a client that does not read', async () => {
    const disk = new MemoryDisk(8 << 20)
    disk.bytes.fill(1)
    await using served = await ServedDisk.start([disk])
    const client = await served.open()
    client.socket.pause()
    client.request(0, 0, 8 << 20)
    await until(() => disk.asked.length === 1)
    await served.server.close(50)
    await until(() => served.server.clients === 0)
  })
})
