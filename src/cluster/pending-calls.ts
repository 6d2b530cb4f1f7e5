import { HubError } from '../base/errors.ts'
import { afterInput } from '../base/time-limit.ts'
import type { NodeResponse } from './wire/response.ts'

/** The end of a call. */
export interface Outcome {
  /** The responses of each node that answered; a long answer has several. */
  readonly responses: ReadonlyMap<string, readonly NodeResponse[]>
  /** The nodes that were asked and did not answer. */
  readonly missing: string[]
}

interface PendingCall {
  /** The nodes that have not answered, and {@link HOLD}. */
  readonly waiting: Set<string>
  readonly missing: Set<string>
  /** Answers of which some parts have arrived. */
  readonly parts: Map<string, NodeResponse[]>
  readonly responses: Map<string, readonly NodeResponse[]>
  /** Does something later, unless the call has ended. */
  readonly later: (ms: number, run: () => void) => void
  /** Whether the request was published. */
  isAsked: boolean
  readonly finish: () => void
}

/** Placeholder that keeps a call open until `holdMs` has passed. */
const HOLD = ''

/**
 * The calls of a node that wait for answers. Each ends when its time is over, with the answers that have
 * arrived.
 */
export class PendingCalls {
  readonly #maxCalls: number
  readonly #calls = new Map<number, PendingCall>()
  #count = 0

  constructor(maxCalls: number) {
    this.#maxCalls = maxCalls
  }

  /** The number of calls that wait. */
  get size(): number {
    return this.#calls.size
  }

  /**
   * Opens a call to some nodes.
   * @param holdMs shortest time to wait, for nodes that are not known yet; `Infinity` = until {@link release}
   * @throws {HubError} WSHUB_ERR_TOO_MANY_CALLS
   */
  open(
    nodes: Iterable<string>,
    timeoutMs: number,
    holdMs: number,
  ): { id: number; outcome: Promise<Outcome> } {
    if (this.#calls.size >= this.#maxCalls) {
      throw new HubError('WSHUB_ERR_TOO_MANY_CALLS', `${this.#maxCalls} calls already wait for answers`)
    }
    const id = ++this.#count
    const outcome = new Promise<Outcome>((resolve) => {
      const ifWaiting = (run: () => void) => afterInput(() => this.#calls.has(id) && run())
      const end = ifWaiting(() => this.#end(call))
      // It keeps the process alive, for no longer than the call: a job may have nothing else that does.
      const timers = [setTimeout(end, timeoutMs)]
      const call: PendingCall = {
        later: (ms, run) => timers.push(setTimeout(ifWaiting(run), ms).unref()),
        waiting: new Set(nodes),
        missing: new Set(),
        parts: new Map(),
        responses: new Map(),
        isAsked: true,
        finish: () => {
          for (const timer of timers) clearTimeout(timer)
          this.#calls.delete(id)
          resolve({ responses: call.responses, missing: [...call.missing] })
        },
      }
      if (holdMs > 0) {
        call.waiting.add(HOLD)
        if (holdMs !== Number.POSITIVE_INFINITY) call.later(holdMs, () => this.#done(call, HOLD))
      }
      this.#calls.set(id, call)
      if (call.waiting.size === 0) call.finish()
    })
    return { id, outcome }
  }

  /** Adds an answer of a node, or a part of one. */
  respond(id: number, node: string, part: number, isLast: boolean, response: NodeResponse): void {
    const call = this.#calls.get(id)
    if (call === undefined || call.responses.has(node)) return
    const parts = call.parts.get(node) ?? []
    if (part !== parts.length) {
      this.#miss(call, node) // a part was lost
      return
    }
    parts.push(response)
    if (!isLast) {
      call.parts.set(node, parts)
      return
    }
    call.parts.delete(node)
    call.missing.delete(node)
    call.responses.set(node, parts)
    this.#done(call, node)
  }

  /** Returns whether a call still waits. */
  has(id: number): boolean {
    return this.#calls.has(id)
  }

  /** Sets how long a call that was opened with `Infinity` waits at least: `ms` from now. */
  release(id: number, ms: number): void {
    const call = this.#calls.get(id)
    call?.later(ms, () => this.#done(call, HOLD))
  }

  /** Does something with a call later, if it still waits then. */
  later(id: number, ms: number, run: () => void): void {
    this.#calls.get(id)?.later(ms, run)
  }

  /** Names a node that cannot be reached as missing. */
  miss(id: number, node: string): void {
    const call = this.#calls.get(id)
    if (call !== undefined) this.#miss(call, node)
  }

  /** Names nodes as missing, now and later, since the request of a call to all could not be published. */
  notAsked(id: number, nodes: Iterable<string>): void {
    const call = this.#calls.get(id)
    if (call === undefined) return
    call.isAsked = false
    for (const node of nodes) this.#miss(call, node)
  }

  /** Waits for nodes as well that a call to all has reached, and that were not known when it was opened. */
  reached(id: number, nodes: Iterable<string>): void {
    const call = this.#calls.get(id)
    if (call !== undefined) for (const node of nodes) this.#expect(call, node)
  }

  /**
   * A node has become known that was alive before: the calls that wait for such nodes have reached it, or
   * nobody.
   */
  found(node: string): void {
    for (const call of this.#calls.values()) if (call.waiting.has(HOLD)) this.#expect(call, node)
  }

  /** Names a node that has left or died as missing in every call that waits for it. */
  gone(node: string): void {
    for (const call of this.#calls.values()) if (call.waiting.has(node)) this.#miss(call, node)
  }

  /** Ends all calls, with the answers that have arrived. */
  close(): void {
    for (const call of this.#calls.values()) this.#end(call)
  }

  #expect(call: PendingCall, node: string): void {
    if (!call.isAsked) this.#miss(call, node)
    else if (!call.responses.has(node) && !call.missing.has(node)) call.waiting.add(node)
  }

  #miss(call: PendingCall, node: string): void {
    call.missing.add(node)
    this.#done(call, node)
  }

  #done(call: PendingCall, node: string): void {
    if (call.waiting.delete(node) && call.waiting.size === 0) call.finish()
  }

  #end(call: PendingCall): void {
    call.waiting.delete(HOLD)
    for (const node of call.waiting) call.missing.add(node)
    call.finish()
  }
}
