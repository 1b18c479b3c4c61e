/**
 * Driver for the virtio memory balloon: pages from a source of the caller's, statistics, free page hints and reports.
 * @packageDocumentation
 */
export { BalloonDriver } from './balloon-driver.ts'
export type { BalloonEvents } from './balloon-events.ts'
export type { BalloonOptions } from './balloon-options.ts'
export { balloonSpec } from './balloon-spec.ts'
export type { BalloonStatistics } from './balloon-statistics.ts'
export { DmaPageSource, type DmaPageSourceOptions } from './dma-page-source.ts'
export type { PageRange, PageSource } from './page-source.ts'
