/**
 * Driver for the virtio console device: ports as streams of bytes, with names, that come and go.
 * @packageDocumentation
 */
export { ConsoleDriver } from './console-driver.ts'
export type { ConsoleEvents } from './console-events.ts'
export type { ConsoleOptions } from './console-options.ts'
export type { ConsolePort } from './console-port.ts'
export type { ConsoleSize } from './console-size.ts'
export { type ConsoleQueueName, consoleSpec } from './console-spec.ts'
export { emergencyWrite } from './emergency-write.ts'
