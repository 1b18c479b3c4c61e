/** `key=value` pairs of a locator in the order written; without a prototype, so that no key means anything else. */
export type LocatorOptions = Readonly<Record<string, string>>

/** Splits at single separators; a doubled one stands for itself, as in QEMU's option syntax. */
export function splitEscaped(text: string, separator: string): string[] {
  const parts: string[] = []
  let part = ''
  for (let i = 0; i < text.length; i++) {
    if (text[i] !== separator) part += text[i]
    else if (text[i + 1] === separator) {
      part += separator
      i++
    } else {
      parts.push(part)
      part = ''
    }
  }
  return [...parts, part]
}

/** Reads `key=value` items, unescaped already. @throws what `failure` makes of the message */
export function parseOptions(items: readonly string[], failure: (what: string) => Error): LocatorOptions {
  const options: Record<string, string> = Object.create(null)
  for (const item of items) {
    const equals = item.indexOf('=')
    const key = item.slice(0, Math.max(equals, 0))
    if (!/^[A-Za-z_][A-Za-z0-9._-]*$/.test(key)) throw failure(`${JSON.stringify(item)} is not key=value`)
    // An own property in any case: there is no prototype whose setter could swallow `__proto__`.
    if (key in options) throw failure(`${key} is given twice`)
    options[key] = item.slice(equals + 1)
  }
  return options
}

/** A value as it stands between commas, in a locator and on QEMU's command line alike. */
export function escapeCommas(value: string): string {
  return value.replaceAll(',', ',,')
}

/** The text that `splitEscaped` at commas and `parseOptions` read back, with its leading comma; empty for no options. */
export function formatOptions(options: LocatorOptions): string {
  return Object.entries(options)
    .map(([key, value]) => `,${key}=${escapeCommas(value)}`)
    .join('')
}
