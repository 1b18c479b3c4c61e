import { runProgram } from '@virtio-ts/command-line'
import { balloond } from './command-line/balloond.ts'

/** The program: reads process.argv, sets process.exitCode. */
export function start(): void {
  runProgram(balloond)
}
