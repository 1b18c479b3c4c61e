/**
 * Driver for the virtio entropy device.
 * @packageDocumentation
 */
export { RngDriver, type RngOptions, rngSpec } from './rng-driver.ts'
