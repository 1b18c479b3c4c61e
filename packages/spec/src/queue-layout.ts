/** Where the three areas of a virtqueue lie, as offsets into one stretch of memory, and how much each takes. */
export interface QueueLayout {
  readonly descriptorArea: number
  readonly driverArea: number
  readonly deviceArea: number
  readonly descriptorAreaLength: number
  readonly driverAreaLength: number
  readonly deviceAreaLength: number
  readonly length: number
  readonly alignment: number
}

export const alignUp = (value: number, alignment: number): number => Math.ceil(value / alignment) * alignment
