// @ts-check

/**
 * `guest.missing`: this machine lacks something to make or run a guest. `guest.not-built`: the checkout's `dist` is missing or old.
 * `guest.image`: the image cannot be made. `guest.boot`: it did not get as far as taking commands. `guest.crashed`: it ended (a panic,
 * QEMU killed) while something was expected of it. `guest.timeout`: its time was up, and it was killed. `guest.command-timeout`: a command
 * took longer than it may; the command was killed. `guest.command`: a command could not be started. `guest.complaint`: the kernel
 * or QEMU complained. `guest.closed`: used after its end.
 * @typedef {'guest.missing' | 'guest.not-built' | 'guest.image' | 'guest.boot' | 'guest.crashed' | 'guest.timeout' |
 *   'guest.command-timeout' | 'guest.command' | 'guest.complaint' | 'guest.closed'} GuestErrorCode
 */

/** Thrown by everything in this folder. */
export class GuestError extends Error {
  /** @param {GuestErrorCode} code @param {string} message what, why and what to do @param {ErrorOptions} [options] */
  constructor(code, message, options) {
    super(message, options)
    this.name = 'GuestError'
    this.code = code
  }
}

/** The last lines of a text, for messages. @param {string} text @param {number} [count] */
export function lastLines(text, count = 25) {
  return text.trimEnd().split('\n').slice(-count).join('\n')
}
