import type { SpecClause } from '../rules.ts'

/** A request that is not carried out: answered with a failure where the front-end wants to know, and recorded. */
export class Refused extends Error {
  readonly rule: SpecClause
  constructor(rule: SpecClause, message: string) {
    super(message)
    this.rule = rule
  }
}
