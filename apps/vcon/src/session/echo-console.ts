import {
  checkModelOptions,
  type LocatorOptions,
  modelFunctionOptions,
  modelOptionError,
} from '@virtio-ts/device-locator'
import { ConsoleModel, type ConsoleSize, type ModelPort, modelFunction } from '@virtio-ts/device-models'
import type { PciFunction } from '@virtio-ts/pci'

/** Bytes of echo that may wait for the driver to take them. */
const MOST_WAITING = 1 << 20
/** Milliseconds after which a peer that has too much waiting looks again. */
const LOOK_AGAIN = 5

/**
 * A software console, whose ports are numbered from 0: a console, then one for each name. Whoever is at their other ends says what it hears.
 * @throws CommandError `locator.option`
 */
export function echoConsole(options: LocatorOptions): PciFunction {
  checkModelOptions('console', options, ['ports', 'size'])
  const names = options['ports'] === undefined ? [] : options['ports'].split('+')
  if (names.some((name) => name === '') || names.length > 30)
    throw modelOptionError('console', 'ports', 'it is up to 30 names with + between them')
  const size = options['size'] === undefined ? undefined : parseSize(options['size'])
  const model = new ConsoleModel({
    ports: [{ id: 0, console: true }, ...names.map((name, index) => ({ id: index + 1, name }))],
    ...(size ? { size } : {}),
  })
  for (const id of [0, ...names.map((_, index) => index + 1)]) echo(model.port(id))
  return modelFunction(model, modelFunctionOptions('console', options))
}

/** A peer that stops reading while what it said is not heard. */
function echo(port: ModelPort): void {
  const look = (): void => {
    if (port.pending < MOST_WAITING) port.reading = true
    else setTimeout(look, LOOK_AGAIN).unref()
  }
  port.onData((bytes) => {
    port.send(bytes)
    if (port.pending < MOST_WAITING || !port.reading) return
    port.reading = false
    setTimeout(look, LOOK_AGAIN).unref()
  })
}

function parseSize(text: string): ConsoleSize {
  const [, columns, rows] = /^([1-9][0-9]{0,4})x([1-9][0-9]{0,4})$/.exec(text) ?? []
  const size = { columns: Number(columns), rows: Number(rows) }
  if (!(size.columns <= 0xffff && size.rows <= 0xffff))
    throw modelOptionError('console', 'size', 'it is COLUMNSxROWS, e.g. 132x43')
  return size
}
