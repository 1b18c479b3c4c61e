import { type Misdeed, misdeed } from './hostile-script.ts'

export type HostileBlockKind =
  | 'status-garbage'
  | 'status-missing'
  | 'io-error'
  | 'answer-garbage'
  | 'answer-short'
  | 'answer-zero'

/** Misdeeds of a block device. */
export const hostileBlock: Readonly<Record<HostileBlockKind, Misdeed>> = {
  /** A status that means nothing: `value`, or 0x7f. */
  'status-garbage': misdeed('block-request', (moment, { value }) => {
    moment.status = value ?? 0x7f
  }),
  /** The status byte is not written, and the request reported done. */
  'status-missing': misdeed('block-request', (moment) => {
    moment.writesStatus = false
  }),
  /** A request that went well is reported failed. */
  'io-error': misdeed('block-request', (moment) => {
    moment.status = 1
    moment.written = 1
  }),
  /** What is answered is `value` in every byte, or 0xff. */
  'answer-garbage': misdeed('block-request', (moment, { value }) => {
    moment.answer = new Uint8Array(moment.room).fill(value ?? 0xff)
  }),
  /** Only `value` bytes, or 1, are written, and reported so: the status says that all went well. */
  'answer-short': misdeed('block-request', (moment, { value }) => {
    moment.written = value ?? 1
    moment.answer = moment.answer.subarray(0, moment.written)
  }),
  /** Everything is reported written, and nothing was. */
  'answer-zero': misdeed('block-request', (moment) => {
    moment.answer = new Uint8Array(0)
  }),
}
