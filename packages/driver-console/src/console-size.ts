/** Size of a console in characters. */
export interface ConsoleSize {
  readonly columns: number
  readonly rows: number
}
