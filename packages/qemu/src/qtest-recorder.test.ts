import { spawn } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { requirement } from '../../../test/requirements.ts'
import { QtestRecorder } from './qtest-recorder.ts'
import { RawVirtio } from './raw-virtio.fixture.ts'
import { startBench } from './start-bench.fixture.ts'

requirement('qemu')('a recorded trace', () => {
  it.each(['q35', 'pc'])('plays back on a QEMU of its own: the same registers answer (%s)', async (machine) => {
    const recorder = new QtestRecorder()
    const bench = await startBench({
      machine: machine === 'pc' ? 'pc' : 'q35',
      devices: ['virtio-net-pci,netdev=n0,mac=52:54:00:01:02:03'],
      netdevs: ['user,id=n0'],
      record: recorder.record,
    })
    const device = new RawVirtio(bench.function(0))
    device.begin()
    const { bar, offset } = device.config
    expect(bar.read32(offset)).toBe(0x01005452)
    const trace = recorder.toString()
    expect(recorder.commands.at(-1)).toMatch(/^readl 0x/)
    expect(recorder.dropped).toBe(0)

    const answers = await play(trace, machine)
    expect(answers.filter((answer) => answer.startsWith('FAIL'))).toEqual([])
    expect(answers).toHaveLength(recorder.commands.length)
    expect(answers.at(-1)).toBe('OK 0x0000000001005452')
    // 14: the status that begin() read back
    expect(answers).toContain('OK 0x000000000000000b')
  })
})

describe('QtestRecorder', () => {
  it('keeps the last commands', () => {
    const recorder = new QtestRecorder(3)
    for (let i = 0; i < 20; i++) recorder.record(`readb ${i}`)
    expect(recorder.commands).toEqual(['readb 17', 'readb 18', 'readb 19'])
    expect(recorder.dropped).toBe(17)
    expect(recorder.toString()).toBe('readb 17\nreadb 18\nreadb 19\n')
    recorder.clear()
    expect([recorder.toString(), recorder.dropped]).toEqual(['', 0])
  })
})

/** What the class documentation says: `-qtest stdio`, the trace on standard input. */
async function play(trace: string, machine: string): Promise<string[]> {
  const args = ['-nodefaults', '-display', 'none', '-accel', 'tcg', '-S', '-qtest', 'stdio', '-qtest-log', '/dev/null']
  args.push('-machine', machine === 'q35' ? 'q35,pit=off,hpet=off,sata=off,smbus=off' : 'pc,pit=off,hpet=off')
  args.push('-netdev', 'user,id=n0')
  // the slot of the bench's own device stays empty: its registers answer nothing, which is no failure
  args.push('-device', 'virtio-net-pci,netdev=n0,mac=52:54:00:01:02:03,romfile=')
  const qemu = spawn('qemu-system-x86_64', args, { stdio: ['pipe', 'pipe', 'ignore'] })
  const wanted = trace.split('\n').length - 1
  const answers: string[] = []
  let pending = ''
  try {
    for (const line of trace.trimEnd().split('\n')) qemu.stdin.write(`${line}\n`)
    for await (const piece of qemu.stdout.setEncoding('latin1')) {
      const lines = `${pending}${piece}`.split('\n')
      pending = lines.pop() ?? ''
      answers.push(...lines.filter((line) => !line.startsWith('IRQ')))
      if (answers.length >= wanted) break
    }
  } finally {
    qemu.kill('SIGKILL')
  }
  return answers
}
