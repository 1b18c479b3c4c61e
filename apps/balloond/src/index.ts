/**
 * The parts of balloond that other programs can use: its policy as a function, and what the kernel says about memory. The program itself is
 * `bin/balloond.js`.
 * @packageDocumentation
 */
export { MemoryMonitor, type MemoryReading, type MonitorOptions } from './machine/memory-monitor.ts'
export type { Pressure } from './machine/parse-pressure.ts'
export {
  type BalloonLimits,
  type Decision,
  decide,
  initialState,
  type Observation,
  type PolicyState,
} from './policy/decide.ts'
