/** A `-device` argument with an id. */
export interface DeviceOption {
  readonly id: string
  readonly driver: string
  /** Where it is to be plugged in, if it says so. */
  readonly bus: string | undefined
  /** As QEMU is given it. */
  readonly text: string
}

/**
 * Completes a `-device` argument: an `id` where there is none, and no option ROM for network cards, which only firmware would
 * run. Takes both of QEMU's spellings, `driver,key=value...` (a comma inside a value is doubled) and a JSON object.
 *
 * @param defaultId used when the argument has no id
 * @throws TypeError when the text is no such argument
 */
export function deviceOption(text: string, defaultId: string): DeviceOption {
  // A line break or NUL would end the argument, or the command that carries it, early.
  if (/[\0\r\n]/.test(text)) throw new TypeError(`the device ${JSON.stringify(text)} contains a control character`)
  return text.trimStart().startsWith('{') ? fromJson(text, defaultId) : fromPairs(text, defaultId)
}

/** The same device, told where to be plugged in. */
export function onBus(option: DeviceOption, bus: string): DeviceOption {
  const json = option.text.trimStart().startsWith('{')
  const text = json ? JSON.stringify({ ...(JSON.parse(option.text) as object), bus }) : `${option.text},bus=${bus}`
  return { ...option, bus, text }
}

/** `key=value` parts of an argument, commas doubled inside values undone; a part without `=` has the value undefined. */
export function optionParts(text: string): { readonly key: string; readonly value: string | undefined }[] {
  // a comma ends a part when an even number of commas, zero included, stands before it
  const parts = text.match(/(?:[^,]|,,)+/g) ?? []
  return parts.map((part) => {
    const equals = part.indexOf('=')
    if (equals < 0) return { key: part, value: undefined }
    return { key: part.slice(0, equals), value: part.slice(equals + 1).replaceAll(',,', ',') }
  })
}

function fromPairs(text: string, defaultId: string): DeviceOption {
  const [first, ...rest] = optionParts(text)
  const driver = first?.value === undefined ? first?.key : first.key === 'driver' ? first.value : undefined
  if (driver === undefined || driver === '') {
    throw new TypeError(`'${text}' names no device; write it as QEMU spells -device, e.g. virtio-net-pci,netdev=n0`)
  }
  const valueOf = (name: string): string | undefined => rest.find(({ key }) => key === name)?.value
  const id = valueOf('id')
  const additions = [
    ...(id === undefined ? [`,id=${defaultId}`] : []),
    ...(isNetworkCard(driver) && valueOf('romfile') === undefined ? [',romfile='] : []),
  ]
  return { id: id ?? defaultId, driver, bus: valueOf('bus'), text: text + additions.join('') }
}

function fromJson(text: string, defaultId: string): DeviceOption {
  let object: Record<string, unknown>
  try {
    object = JSON.parse(text) as Record<string, unknown>
  } catch (cause) {
    throw new TypeError(`the device ${text} is no JSON object`, { cause })
  }
  const { driver, bus, id = defaultId } = object
  if (typeof driver !== 'string' || typeof id !== 'string') throw new TypeError(`the device ${text} names no driver`)
  const completed = { ...(isNetworkCard(driver) ? { romfile: '' } : {}), ...object, id }
  return { id, driver, bus: typeof bus === 'string' ? bus : undefined, text: JSON.stringify(completed) }
}

function isNetworkCard(driver: string): boolean {
  return /^virtio-net-pci($|-)/.test(driver)
}
