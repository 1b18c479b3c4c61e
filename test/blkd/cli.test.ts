import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { requirement } from '../requirements.ts'
import { blkd, blkdProgram, RunningBlkd } from '../support/running-blkd.ts'
import { emptyImage } from '../support/served-devices.ts'

describe('the built program', () => {
  let folder = ''
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'blkd-cli-'))
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  it('prints its version and its help on stdout, also through a link, as npm installs it', () => {
    const { version } = JSON.parse(readFileSync(new URL('../../apps/blkd/package.json', import.meta.url), 'utf8'))
    const link = join(folder, 'blkd')
    symlinkSync(blkdProgram, link)
    expect(spawnSync(process.execPath, [link, '--version'], { encoding: 'utf8' }).stdout).toBe(`blkd ${version}\n`)
    const help = blkd('--help')
    expect([help.code, help.stderr]).toEqual([0, ''])
    for (const command of ['serve', 'copy', 'info', 'bench']) {
      expect(help.stdout).toMatch(new RegExp(`^ {2}${command}\\b`, 'm'))
      expect(blkd(command, '--help').stdout).toContain(`Usage: blkd ${command}`)
    }
  })

  it.each([
    [['serve', 'model:block'], '--nbd unix:/run/disk.sock'],
    [['serve', 'model:block', '--nbd', 'tcp:1'], 'it is unix: and the path of a socket'],
    [['serve', 'model:block', '--nbd', `unix:/${'x'.repeat(107)}`], 'at most 107 bytes'],
    [['serve', 'model:block', '--nbd', 'unix:/tmp/x', '--name', 'a\nb'], 'no control characters'],
    [['serve', 'modle:block', '--nbd', 'unix:/tmp/x'], 'did you mean model:?'],
    [['serve', 'model:block,size=1000', '--nbd', 'unix:/tmp/x'], 'a multiple of 512'],
    [['serve', 'model:block,blk-size=1000', '--nbd', 'unix:/tmp/x'], 'a power of 2'],
    [['serve', 'model:block,speed=high', '--nbd', 'unix:/tmp/x'], 'known are'],
    [['serve', 'qemu:virtio-blk-pci', '--nbd', 'unix:/tmp/x'], ';drive=IMAGE'],
    [['copy', 'a', 'b'], 'cp copies files'],
    [['copy', 'model:block'], 'needs TO'],
    [['bench', 'model:block', '--depth', '0'], 'from 1 to 1024'],
    [['bench', 'model:block', '--length', '1.5K'], 'it is a number of bytes'],
    [['bench', 'model:block', '--read', '--write-destroys-data'], 'exclude each other'],
  ])('answers the mistake %j with 2, and says what was meant', (args, text) => {
    expect(blkd(...args)).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining(text) })
  })

  it('answers 69 for what is not there', () => {
    expect(blkd('info', 'vfio:fffe:00:04.0').code).toBe(69)
    expect(blkd('info', 'model:net').code).toBe(69)
    expect(blkd('info', `vhost-user:${folder}/nope`)).toMatchObject({
      code: 69,
      stderr: expect.stringContaining('start the back-end'),
    })
  })

  it('tells what a device is, for people and as one object', () => {
    const locator = 'model:block,size=1G,blk-size=4096,serial=my-disk,queues=3,read-only=on'
    const text = blkd('info', locator)
    expect([text.code, text.stderr]).toEqual([0, ''])
    expect(text.stdout).toMatch(/^serial +my-disk$/m)
    expect(text.stdout).toMatch(/^capacity +1 GiB \(1073741824 bytes\)$/m)
    expect(text.stdout).toMatch(/^access +read-only$/m)
    expect(JSON.parse(blkd('info', locator, '--json').stdout)).toMatchObject({
      device: locator,
      serial: 'my-disk',
      capacity: 2 ** 30,
      blockSize: 4096,
      readOnly: true,
      cache: 'writeback',
      queues: [{ name: 'requestq1' }, { name: 'requestq2' }, { name: 'requestq3' }],
      features: expect.arrayContaining(['RO', 'MQ', 'FLUSH', 'DISCARD']),
      discard: { maxSectors: 65535 },
      transport: 'pci-modern',
    })
  })

  it('does not count what it does to warm up', () => {
    const start = performance.now()
    const { stdout } = blkd('bench', 'model:block', '--warm-up', '2', '--seconds', '1', '--json')
    const all = (performance.now() - start) / 1000
    const { requests, seconds, iops } = JSON.parse(stdout)
    expect(all - seconds).toBeGreaterThanOrEqual(2)
    expect(Math.round(requests / seconds)).toBe(iops)
  })

  it('measures, and changes nothing by default', () => {
    const result = JSON.parse(blkd('bench', 'model:block', '--seconds', '1', '--depth', '4', '--json').stdout)
    expect(result).toMatchObject({ device: 'model:block', write: false, sequential: false, depth: 4, length: 4096 })
    expect(result.requests).toBeGreaterThan(0)
    const { p50, p90, p99, p999, max } = result.latency
    expect([p50, p90, p99, p999, max]).toEqual([p50, p90, p99, p999, max].sort((a, b) => a - b))
    const write = blkd('bench', 'model:block,blk-size=4096', '--write-destroys-data', '--sequential', '--seconds', '1')
    expect([write.code, write.stderr]).toEqual([0, ''])
    expect(write.stdout).toMatch(/^load +sequential writes of 4 KiB, 32 at a time/m)
    expect(blkd('bench', 'model:block,read-only=on', '--write-destroys-data')).toMatchObject({ code: 1 })
    expect(blkd('bench', 'model:block,blk-size=4096', '--length', '512')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('--length 4096'),
    })
  })
})

requirement(
  'qemu',
  'qemu-img',
  'setpriv',
)('images', () => {
  it('are raw unless it is said otherwise, and what looks like qcow2 is asked about', () => {
    const folder = mkdtempSync(join(tmpdir(), 'blkd-images-'))
    const image = join(folder, 'disk.qcow2')
    expect(spawnSync('qemu-img', ['create', '-f', 'qcow2', image, '8M']).status).toBe(0)
    const locator = `qemu:virtio-blk-pci;drive=${image}`
    expect(blkd('info', locator)).toMatchObject({ code: 2, stderr: expect.stringContaining('format=qcow2') })
    const { size } = statSync(image)
    expect(JSON.parse(blkd('info', `${locator},format=qcow2`, '--json').stdout).capacity).toBe(8 * 2 ** 20)
    expect(JSON.parse(blkd('info', `${locator},format=raw`, '--json').stdout).capacity).toBe(
      Math.ceil(size / 512) * 512,
    )
    rmSync(folder, { recursive: true })
  })

  it('that are only read are opened so: QEMU lets several have one at a time', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'blkd-images-'))
    const locator = `qemu:virtio-blk-pci;drive=${emptyImage(folder)}`
    await using served = await RunningBlkd.serve(locator, join(folder, 'nbd'), '--read-only')
    expect(blkd('copy', locator, join(folder, 'copy'))).toMatchObject({ code: 0 })
    expect(blkd('bench', locator, '--seconds', '1')).toMatchObject({ code: 0, stderr: '' })
    const writing = blkd('bench', locator, '--seconds', '1', '--write-destroys-data')
    expect(writing).toMatchObject({ code: 69, stderr: expect.stringContaining('lock') })
    expect(await served.stop()).toBe(0)
    rmSync(folder, { recursive: true })
  })
})
