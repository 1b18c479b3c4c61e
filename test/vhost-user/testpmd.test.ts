import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Testpmd, vhostDevice, virtioUserDevice } from '@virtio-ts/conformance/testpmd'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { requirement } from '../requirements.ts'

requirement('dpdk-testpmd')('testpmd', () => {
  let folder = ''
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'virtio-ts-testpmd-'))
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  it('moves packets from its own driver to its own back-end, and counts them on both sides', async () => {
    const path = join(folder, 'pair')
    await using backend = await Testpmd.launch({ devices: [vhostDevice({ path })], forward: 'rxonly' })
    await using driver = await Testpmd.launch({ devices: [virtioUserDevice({ path })], forward: 'txonly', cpu: 1 })
    await backend.start()
    await driver.start()
    while ((await driver.portStats()).txPackets < 1000) await new Promise((resolve) => setTimeout(resolve, 20))
    expect(await driver.stop()).toContain('Done.')
    const { txPackets } = await driver.portStats()
    let received = 0
    for (let i = 0; i < 100 && received < txPackets; i++) received = (await backend.portStats()).rxPackets
    expect(received).toBe(txPackets)
  })

  it('says why it cannot start', async () => {
    const launching = Testpmd.launch({ devices: ['net_nothing0'] })
    await expect(launching).rejects.toThrow(/testpmd ended .* while starting\. It said: .*net_nothing0/)
  })

  it('says so when it is killed, and leaves nothing behind', async () => {
    const path = join(folder, 'killed')
    const testpmd = await Testpmd.launch({ devices: [vhostDevice({ path })] })
    expect(existsSync(path)).toBe(true)
    testpmd.kill()
    await expect(testpmd.portStats()).rejects.toThrow('ended by SIGKILL')
    await testpmd.close()
    expect(() => process.kill(testpmd.pid, 0)).toThrow('ESRCH')
    const prefix = /--file-prefix=(\S+)/.exec(testpmd.commandLine.join(' '))?.[1]
    expect(existsSync(`/var/run/dpdk/${prefix}`)).toBe(false)
  })
})
