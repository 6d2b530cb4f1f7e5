import { settlesWithin } from '../base/time-limit.ts'
import { ABANDONED } from '../connection/endings.ts'
import type { Session } from '../connection/session.ts'
import { CloseCode } from '../protocol/close-code.ts'
import type { CloseResult, ResolvedCloseOptions } from './close-options.ts'
import type { Sessions } from './sessions.ts'

/** The part of `timeoutMs` that running callbacks may take; the rest is for the clients to answer. */
const HANDLERS_SHARE = 0.8

/** The part of it after which connections are terminated; the rest is for their `onClose`. */
const ANSWERS_SHARE = 0.9

/**
 * The least time, in ms, in which a terminated connection may report its end. It takes a turn or two, but a
 * WebSocket that was opened elsewhere may never do it.
 */
const ENDS_MS = 20

/** Closes all connections of a hub, in batches, each after its running callbacks. */
export class Shutdown<Meta extends object> {
  readonly #sessions: Sessions<Meta>
  #onEmpty: (() => void) | undefined

  constructor(sessions: Sessions<Meta>) {
    this.#sessions = sessions
  }

  /** Closes all connections, and terminates those that are left towards the end of `timeoutMs`. */
  async run(goodbye: ResolvedCloseOptions): Promise<CloseResult> {
    const endsAt = performance.now() + goodbye.timeoutMs
    const count = this.#sessions.size
    const unansweredBefore = this.#sessions.tally.unansweredConnections
    const stopBatches = this.#sayGoodbye(goodbye)
    const stopWaiting = this.#limitHandlers(goodbye.timeoutMs * HANDLERS_SHARE)
    const isEmpty = await settlesWithin(goodbye.timeoutMs * ANSWERS_SHARE, this.#finished())
    const left = isEmpty ? [] : [...this.#sessions]
    stopBatches()
    stopWaiting()
    const terminated = left.length + this.#sessions.tally.unansweredConnections - unansweredBefore
    if (!isEmpty) await this.#abandon(left, endsAt)
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

  /** Terminates connections, and waits until every `onClose` was called, and for what settles in time. */
  async #abandon(left: readonly Session<Meta>[], endsAt: number): Promise<void> {
    const { deferred, running } = this.#sessions
    for (const session of left) session.terminate(ABANDONED)
    await settlesWithin(Math.max(ENDS_MS, endsAt - performance.now()), this.#emptied())
    for (const session of left) session.closed(CloseCode.abnormal, '') // its socket has not emitted `close`
    for (const opening of deferred) opening.stopWaiting()
    await settlesWithin(Math.max(0, endsAt - performance.now()), running.idle())
  }

  /** Resolves when there is no connection and no running callback. */
  async #finished(): Promise<void> {
    await this.#emptied()
    await this.#sessions.running.idle()
  }

  /** Resolves when there is no connection. */
  async #emptied(): Promise<void> {
    if (this.#sessions.size === 0) return
    await new Promise<void>((resolve) => {
      this.#onEmpty = resolve
    })
  }
}

/** Returns a copy in random order. */
function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, place: Math.random() }))
    .sort((a, b) => a.place - b.place)
    .map(({ item }) => item)
}
