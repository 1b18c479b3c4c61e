/** Whether a function's registers answer: shared by its BARs, which read as all-ones while they do not. */
export interface Decoding {
  /** False while memory decoding is off, or the function is in a low-power state: touching mapped registers would be a SIGBUS then. */
  memory: boolean
  /** False once the function is gone or closed. */
  present: boolean
}
