import { settlesWithin } from '../base/time-limit.ts'
import { ABANDONED } from '../connection/endings.ts'
import type { CloseResult, ResolvedCloseOptions } from './close-options.ts'
import type { Sessions } from './sessions.ts'

/** The part of `timeoutMs` that running callbacks may take; the rest is for the clients to answer. */
const HANDLERS_SHARE = 0.8

/** Closes all connections of a hub, in batches, each after its running callbacks. */
export class Shutdown<Meta extends object> {
  readonly #sessions: Sessions<Meta>
  #onEmpty: (() => void) | undefined

  constructor(sessions: Sessions<Meta>) {
    this.#sessions = sessions
  }

  /** Closes all connections, and terminates those that are left after `timeoutMs`. */
  async run(goodbye: ResolvedCloseOptions): Promise<CloseResult> {
    const count = this.#sessions.size
    const unansweredBefore = this.#sessions.tally.unansweredConnections
    const stopBatches = this.#sayGoodbye(goodbye)
    const stopWaiting = this.#limitHandlers(goodbye.timeoutMs * HANDLERS_SHARE)
    const isEmpty = await settlesWithin(goodbye.timeoutMs, this.#emptied())
    const left = isEmpty ? [] : [...this.#sessions]
    stopBatches()
    stopWaiting()
    const terminated = left.length + this.#sessions.tally.unansweredConnections - unansweredBefore
    for (const session of left) session.terminate(ABANDONED)
    return { closed: count - terminated, terminated }
  }

  /** Must be called when the hub has lost its last connection, before the `onClose` of that one. */
  lastClosed(): void {
    process.nextTick(() => this.#onEmpty?.()) // after that `onClose`
  }

  /**
   * Closes connections in batches. The pauses vary by ±50 %, so that clients do not reconnect all at once.
   */
  #sayGoodbye({ code, reason, batch, everyMs, timeoutMs }: ResolvedCloseOptions): () => void {
    const sessions = shuffled([...this.#sessions])
    const pauseMs = Math.min(everyMs, timeoutMs / 2 / Math.ceil(sessions.length / batch))
    let done = 0
    let timer: NodeJS.Timeout | undefined
    const next = (): void => {
      for (const session of sessions.slice(done, done + batch)) {
        if (session.state === 'connecting') session.terminate(ABANDONED)
        else session.leave(code, reason, 0)
      }
      done += batch
      if (done < sessions.length) timer = setTimeout(next, pauseMs * (0.5 + Math.random()))
    }
    next()
    return () => clearTimeout(timer)
  }

  /** Closes, after that many ms, the connections whose callbacks still run. */
  #limitHandlers(ms: number): () => void {
    const timer = setTimeout(() => {
      for (const session of this.#sessions) session.leaveNow()
    }, ms)
    return () => clearTimeout(timer)
  }

  /** Resolves when there is no connection and no running callback. */
  async #emptied(): Promise<void> {
    if (this.#sessions.size > 0) {
      await new Promise<void>((resolve) => {
        this.#onEmpty = resolve
      })
    }
    await this.#sessions.running.idle()
  }
}

/** Returns a copy in random order. */
function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, place: Math.random() }))
    .sort((a, b) => a.place - b.place)
    .map(({ item }) => item)
}
