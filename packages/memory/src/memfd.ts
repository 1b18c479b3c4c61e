/**
 * Memory that another process can map: for vhost-user back-ends and QEMU.
 * @packageDocumentation
 */
import { close, memfdCreate, sealAgainstResize, truncate } from '@virtio-ts/native'
import { MappedDma, type MappedDmaOptions } from './mapped-dma.ts'

export { MappedDma, type MappedDmaOptions } from './mapped-dma.ts'

/**
 * An allocator over a memfd that nobody can shrink or grow, us included.
 *
 * @param length bytes, rounded up to whole pages; the system provides what is touched
 * @throws SystemError when the system refuses
 */
export function memfdDma(length: number, options: MappedDmaOptions = {}): MappedDma {
  const whole = Math.ceil(length / PAGE_LENGTH) * PAGE_LENGTH
  const fd = memfdCreate('virtio-ts')
  try {
    truncate(fd, whole)
    // Before anybody else gets the file: a peer that truncates it would make our next access a SIGBUS.
    sealAgainstResize(fd)
    return new MappedDma(fd, whole, options)
  } catch (error) {
    close(fd)
    throw error
  }
}

/** The largest base page of the architectures Linux runs Node on: a multiple of every smaller one. */
const PAGE_LENGTH = 65536
