import { afterEach, beforeEach, expect } from 'vitest'

/** Events of the process that report an error which nobody has caught. */
const ERRORS = ['unhandledRejection', 'uncaughtExceptionMonitor']

/**
 * Fails each test of a file during which nobody catches an error. To be called before other hooks: they run
 * first at the end of a test, and may cause such an error, too.
 * @param others further events of the process that must not be emitted
 */
export function failOnStrayErrors(...others: readonly string[]): void {
  const stray: unknown[] = []
  const onStray = (what: unknown) => void stray.push(what)
  const events = [...ERRORS, ...others]

  beforeEach(() => {
    stray.length = 0
    for (const event of events) process.on(event, onStray)
  })

  afterEach(async () => {
    await new Promise((resolve) => setImmediate(resolve))
    for (const event of events) process.off(event, onStray)
    expect(stray).toEqual([])
  })
}
