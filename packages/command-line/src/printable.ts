/** C0, DEL and C1: what a terminal may act on. */
function isControl(code: number): boolean {
  return code < 0x20 || (code >= 0x7f && code <= 0x9f)
}

export function hasControlCharacters(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (isControl(text.charCodeAt(i))) return true
  return false
}

/** `text` with every control character but the line feed as `?`: names and messages come from files, sockets and devices. */
export function printable(text: string): string {
  if (!hasControlCharacters(text)) return text
  return Array.from(text, (character) =>
    character !== '\n' && isControl(character.charCodeAt(0)) ? '?' : character,
  ).join('')
}
