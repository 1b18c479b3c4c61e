/** What has been taken so far, and how to give it back: in the opposite order, all of it, whatever fails meanwhile. */
export class ReleaseStack {
  readonly #releases: (() => void)[] = []

  /** @param release what gives back what was just taken */
  add(release: () => void): void {
    this.#releases.push(release)
  }

  /**
   * Gives everything back; a second call has nothing left to do.
   * @returns what failed: the rest was given back nevertheless
   */
  release(): Error[] {
    const failures: Error[] = []
    for (let release = this.#releases.pop(); release !== undefined; release = this.#releases.pop()) {
      try {
        release()
      } catch (error) {
        failures.push(error as Error)
      }
    }
    return failures
  }
}
