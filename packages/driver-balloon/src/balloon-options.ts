import type { InitializeOptions } from '@virtio-ts/core'
import type { BalloonStatistics } from './balloon-statistics.ts'
import type { PageSource } from './page-source.ts'

export interface BalloonOptions extends InitializeOptions {
  /** Where pages come from. With `takeFree` and `giveFree` it has free memory to hint and report as well. */
  readonly pages: PageSource
  /** Called for each set of statistics, and once before the device is live. Which values there are, the first answer decides. */
  readonly statistics?: () => BalloonStatistics | Promise<BalloonStatistics>
  /**
   * What freed memory is filled with, 32 bits; needs `pages.fill`. Without it free memory is not kept at any value.
   * @see VIRTIO 1.3 § 5.5.6.6 "Page Poison"
   */
  readonly poison?: number
  /** Pages in the balloon at most, whatever the device wants, until `setLimit()`. @defaultValue no limit but that of `pages` */
  readonly maxPages?: number
  /** Milliseconds until `pages` is asked again, when it had too few. @defaultValue 1000 */
  readonly retryInterval?: number
  /** Milliseconds between two reports of free memory; 0 for none but those of `report()`. @defaultValue 2000 */
  readonly reportInterval?: number
  /** Milliseconds that `close()` gives the device to take back its pages in order. @defaultValue 2000 */
  readonly closeTimeout?: number
  /** Milliseconds between two looks for a notification that got lost; 0 for none. @defaultValue 1000 */
  readonly watchdog?: number
  /** See `balloonQueues` of `spec`: `fixed` for a device that numbers queues as the specification does. @defaultValue 'dense' */
  readonly queueNumbers?: 'dense' | 'fixed'
}

/** @throws RangeError for options that cannot be */
export function checkBalloonOptions(options: BalloonOptions): void {
  const { pages, poison } = options
  const whole = (name: string, value: number | undefined, most: number): void => {
    if (value !== undefined && !(Number.isInteger(value) && value >= 0 && value <= most))
      throw new RangeError(`${name} is ${value}: it has to be a whole number from 0 to ${most}`)
  }
  whole('poison', poison, 0xffffffff)
  whole('maxPages', options.maxPages, 0xffffffff)
  for (const name of ['retryInterval', 'reportInterval', 'closeTimeout', 'watchdog'] as const)
    whole(name, options[name], 0x7fffffff)
  if (poison !== undefined && !pages.fill) throw new RangeError('poison without pages.fill, which would write it')
  if (!pages.takeFree !== !pages.giveFree) throw new RangeError('pages has takeFree or giveFree, but not both')
}
