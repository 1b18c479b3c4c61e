import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BalloonModel, VhostUserBackEnd } from '@virtio-ts/device-models'
import { BalloonStat } from '@virtio-ts/spec'
import { expect, it } from 'vitest'
import { requirement } from '../requirements.ts'
import { RunningBalloond } from '../support/running-balloond.ts'

const PAGES = 256

requirement()('balloond on a vhost-user back-end', () => {
  it('follows it, tells it about this machine, and ends with 69 when it ends', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'virtio-ts-balloond-'))
    const path = join(folder, 'vhost.sock')
    const model = new BalloonModel()
    const backEnd = VhostUserBackEnd.serve(model, { path })
    const balloond = new RunningBalloond()
    const until = async (condition: () => boolean, what: string): Promise<void> => {
      for (let turn = 0; turn < 1000 && !condition(); turn++) await new Promise((resolve) => setTimeout(resolve, 10))
      if (!condition())
        throw new Error(`never happened: ${what} ${JSON.stringify(balloond.events)} ${balloond.messages}`)
    }
    try {
      balloond.start(`vhost-user:${path}`, '--interval', '0.1', '--reserve', '0', '--pressure', balloond.pressureFile)
      expect(await balloond.event({ event: 'ready' })).toMatchObject({ transport: 'vhost-user' })
      model.target = 3 * PAGES
      await until(() => model.pages.size === 3 * PAGES, '3 MiB')
      model.target = PAGES
      await until(() => model.pages.size === PAGES, '1 MiB')
      balloond.press(90)
      await until(() => model.pages.size === 0, 'all of it back')
      expect(model.statistics.get(BalloonStat.S_MEMTOT)).toBeGreaterThan(0n)
      backEnd.close()
      expect((await balloond.ended).code).toBe(69)
    } finally {
      backEnd.close()
      await balloond.close()
      rmSync(folder, { recursive: true })
    }
  })
})
