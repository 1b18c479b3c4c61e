/**
 * Driver for the virtio sample device.
 * @packageDocumentation
 */
export { SampleDriver, sampleSpec } from './sample-driver.ts'
