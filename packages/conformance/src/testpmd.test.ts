import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { Testpmd, vhostDevice, virtioUserDevice } from './testpmd.ts'

const binary = fileURLToPath(new URL('fake-testpmd.fixture.sh', import.meta.url))
const launch = (device = 'net_null0', more: object = {}): Promise<Testpmd> =>
  Testpmd.launch({ binary, devices: [device], ...more })

it('answers commands one after the other, without echo and prompt', async () => {
  await using testpmd = await launch()
  const answers = await Promise.all([testpmd.stop(), testpmd.command('start'), testpmd.command('nothing')])
  expect(answers).toEqual(['Telling cores to stop...\nDone.', 'io packet forwarding - ports=1 (start)', ''])
  await testpmd.start('tx_first 16')
  expect(testpmd.output).toContain('(start tx_first 16)')
})

it('reads the statistics of a port', async () => {
  await using testpmd = await launch()
  expect(await testpmd.portStats()).toEqual({
    rxPackets: 10,
    rxMissed: 1,
    rxBytes: 640,
    rxErrors: 2,
    rxNoBuffer: 3,
    txPackets: 20,
    txErrors: 4,
    txBytes: 1280,
  })
  await expect(testpmd.portStats(7)).rejects.toThrow('no statistics of port 7: Invalid port 7')
})

it('goes on after more output than it keeps', async () => {
  await using testpmd = await launch()
  await testpmd.command('noise')
  const before = testpmd.outputLength
  expect(before).toBeGreaterThan(testpmd.output.length)
  expect(await testpmd.stop()).toBe('Telling cores to stop...\nDone.')
  await testpmd.waitFor('Done.', 1000, before)
  await expect(testpmd.waitFor('line 1999', 50, before)).rejects.toThrow(
    "was not done with saying 'line 1999' within 50 ms",
  )
})

it('tells what it said when it ends', async () => {
  await using testpmd = await launch()
  const waiting = testpmd.waitFor('never').catch(String)
  await expect(testpmd.command('die')).rejects.toThrow(/ended by SIGABRT while carrying out 'die'.*PANIC in main/)
  expect(await waiting).toMatch(/ended by SIGABRT while saying 'never'.*PANIC/)
  expect(testpmd.ended).toBe(true)
  await expect(testpmd.stop()).rejects.toThrow('ended by SIGABRT')
})

it('fails to start with the reason', async () => {
  await expect(launch('bad')).rejects.toThrow(/ended with exit status 1 while starting.*failed to parse device "bad"/)
  await expect(launch('net_null0', { binary: '/nowhere/testpmd' })).rejects.toThrow('apt-get install dpdk-dev')
})

it('kills one that does not come up, or does not answer', async () => {
  await expect(launch('silent', { startTimeout: 300 })).rejects.toThrow('was not done with starting within 300 ms')
  const testpmd = await launch('net_null0', { commandTimeout: 200 })
  await expect(testpmd.command('stuck')).rejects.toThrow("'stuck' within 200 ms. It said: Interactive-mode selected")
  testpmd.kill()
  expect(await testpmd.exited).toBe('by SIGKILL')
  await testpmd.close()
})

it('quits in order, and only once', async () => {
  const testpmd = await launch()
  const { pid } = testpmd
  await Promise.all([testpmd.close(), testpmd.close()])
  expect(await testpmd.exited).toBe('with exit status 0')
  expect(() => process.kill(pid, 0)).toThrow('ESRCH')
})

it('spells devices and options', async () => {
  expect(vhostDevice({ path: '/s', queues: 2, client: true, index: 1 })).toBe('net_vhost1,iface=/s,queues=2,client=1')
  expect(virtioUserDevice({ path: '/s', packed: true, vectorized: true })).toBe(
    'net_virtio_user0,path=/s,queues=1,queue_size=256,packed_vq=1,vectorized=1,in_order=1,mrg_rxbuf=0,server=0',
  )
  await using testpmd = await launch('net_null0', { cpu: 1, hugepages: true, queues: 2, arguments: ['--txpkts=64'] })
  const line = testpmd.commandLine.join(' ')
  expect(line).toContain('--lcores=0@1,1@1')
  expect(line).toContain('--single-file-segments')
  expect(line).not.toContain('--no-huge')
  expect(line).toMatch(/ -- .*--rxq=2 --txq=2.*--txpkts=64$/)
})
