/** The next uncaught exceptions, kept from the test runner. */
export function uncaughtExceptions(count: number): Promise<unknown[]> {
  const others = process.rawListeners('uncaughtException') as NodeJS.UncaughtExceptionListener[]
  process.removeAllListeners('uncaughtException')
  const errors: unknown[] = []
  return new Promise((resolve) => {
    process.on('uncaughtException', function listener(error) {
      errors.push(error)
      if (errors.length < count) return
      process.off('uncaughtException', listener)
      for (const other of others) process.on('uncaughtException', other)
      resolve(errors)
    })
  })
}
