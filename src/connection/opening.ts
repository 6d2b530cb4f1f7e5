import type { Connection } from './connection.ts'

/**
 * The time until `onOpen` has settled. A connection that is closed meanwhile waits for that with its
 * `onClose`.
 */
export class Opening<Meta extends object> {
  /** Resolves when `onOpen` has settled. */
  readonly opened: Promise<Connection<Meta>>
  #resolve = (): void => {}
  #timer: NodeJS.Timeout | undefined
  #runOnClose: (() => void) | undefined
  /** Stops waiting for `onOpen`; `undefined` while it has not returned a promise. */
  stopWaiting: (() => void) | undefined

  constructor(connection: Connection<Meta>) {
    this.opened = new Promise((resolve) => {
      this.#resolve = () => resolve(connection)
    })
  }

  /**
   * Keeps `onClose` until `onOpen` has settled. The keepalive no longer watches a closed connection, so a
   * timer of its own limits that.
   * @param timeoutMs 0 = no limit
   */
  deferOnClose(run: () => void, timeoutMs: number): void {
    this.#runOnClose = run
    if (timeoutMs > 0) this.#timer = setTimeout(() => this.stopWaiting?.(), timeoutMs).unref()
  }

  /** Resolves {@link Opening.opened}. */
  settle(): void {
    clearTimeout(this.#timer)
    this.#resolve()
  }

  /** Runs the `onClose` that waits. @returns whether there was one */
  runOnClose(): boolean {
    this.#runOnClose?.()
    return this.#runOnClose !== undefined
  }
}
