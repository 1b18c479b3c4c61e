import { describe, expect, it } from 'vitest'
import { memoryIo } from '@virtio-ts/command-line/memory-io'
import { fakeMachine } from '../doctor/fake-machine.fixture.ts'
import { doctor } from './doctor.ts'

const broken = fakeMachine({ paths: ['/proc/self/ns/net'], files: { '/proc/meminfo': '' } })

describe('netd doctor', () => {
  it('prints a line a check, and what mends what is wrong', async () => {
    const { io, stdout } = memoryIo()
    expect(await doctor({ json: false }, io, broken)).toBe(1)
    expect(stdout()).toContain('pass  Node.js 20.20.2\n')
    expect(stdout()).toContain(
      'fail  /dev/net/tun is missing: no TAP interface can be made\n      fix: sudo modprobe tun',
    )
    expect(stdout()).toMatch(/^warn {2}no hugepages.*\n {6}fix: sudo sysctl vm\.nr_hugepages=64$/m)
  })

  it('is content with warnings', async () => {
    const { io, stdout } = memoryIo()
    expect(await doctor({ json: false }, io, fakeMachine({ files: { '/proc/meminfo': '' } }))).toBe(0)
    expect(stdout()).toContain('warn  ')
  })

  it('prints JSON', async () => {
    const { io, stdout } = memoryIo()
    expect(await doctor({ json: true }, io, broken)).toBe(1)
    const { ok, checks } = JSON.parse(stdout())
    expect(ok).toBe(false)
    expect(checks).toContainEqual({ id: 'tun', status: 'fail', summary: expect.any(String), fix: expect.any(String) })
    expect(checks).toContainEqual({ id: 'node', status: 'pass', summary: 'Node.js 20.20.2' })
  })

  it('colours when asked to', async () => {
    const { io, stdout } = memoryIo({ color: true })
    await doctor({ json: false }, io, broken)
    expect(stdout()).toContain('\u001b[31mfail\u001b[39m')
  })
})
