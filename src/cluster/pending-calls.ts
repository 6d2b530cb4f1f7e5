import { HubError } from '../base/errors.ts'
import type { NodeResponse } from './wire/response.ts'

/** What came of a request. */
export interface Outcome {
  /** The responses of each node that answered; a long one has several parts. */
  readonly responses: ReadonlyMap<string, readonly NodeResponse[]>
  /** The nodes that were asked and have not answered. */
  readonly missing: string[]
}

interface Call {
  readonly waiting: Set<string>
  readonly missing: Set<string>
  readonly parts: Map<string, NodeResponse[]>
  readonly responses: Map<string, readonly NodeResponse[]>
  readonly hold: (ms: number) => void
  readonly finish: () => void
}

/** Stands among the nodes that are waited for until a call may end. */
const HOLD = ''

/** The requests of a node that wait for answers. Each ends, with whatever came, when its time is over. */
export class PendingCalls {
  readonly #maxCalls: number
  readonly #calls = new Map<number, Call>()
  #count = 0

  constructor(maxCalls: number) {
    this.#maxCalls = maxCalls
  }

  /** How many wait. */
  get size(): number {
    return this.#calls.size
  }

  /**
   * Begins to wait for the answers of some nodes.
   * @param holdMs how long to wait at least, for nodes that are not known yet; `Infinity` until {@link release}
   * @throws {HubError} WSHUB_ERR_TOO_MANY_CALLS
   */
  open(
    nodes: Iterable<string>,
    timeoutMs: number,
    holdMs: number,
  ): { id: number; outcome: Promise<Outcome> } {
    if (this.#calls.size >= this.#maxCalls) {
      throw new HubError('WSHUB_ERR_TOO_MANY_CALLS', `${this.#maxCalls} calls wait for answers already`)
    }
    const id = ++this.#count
    const outcome = new Promise<Outcome>((resolve) => {
      const timers = [setTimeout(() => this.#end(call), timeoutMs).unref()]
      const call: Call = {
        hold: (ms) => timers.push(setTimeout(() => this.#done(call, HOLD), ms).unref()),
        waiting: new Set(nodes),
        missing: new Set(),
        parts: new Map(),
        responses: new Map(),
        finish: () => {
          for (const timer of timers) clearTimeout(timer)
          this.#calls.delete(id)
          resolve({ responses: call.responses, missing: [...call.missing] })
        },
      }
      if (holdMs > 0) {
        call.waiting.add(HOLD)
        if (holdMs !== Number.POSITIVE_INFINITY) call.hold(holdMs)
      }
      this.#calls.set(id, call)
      if (call.waiting.size === 0) call.finish()
    })
    return { id, outcome }
  }

  /** A node has answered, or a part of its answer has come. */
  respond(id: number, node: string, part: number, isLast: boolean, response: NodeResponse): void {
    const call = this.#calls.get(id)
    if (call === undefined || call.responses.has(node)) return
    const parts = call.parts.get(node) ?? []
    if (part !== parts.length) {
      this.#miss(call, node) // one got lost: half an answer is none
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

  /** Whether a call still waits. */
  has(id: number): boolean {
    return this.#calls.has(id)
  }

  /** Holds a call no longer than `ms` from now. */
  release(id: number, ms: number): void {
    this.#calls.get(id)?.hold(ms)
  }

  /** The node cannot be reached. */
  miss(id: number, node: string): void {
    const call = this.#calls.get(id)
    if (call !== undefined) this.#miss(call, node)
  }

  /** The node is gone: no call waits for it any more. */
  gone(node: string): void {
    for (const call of this.#calls.values()) if (call.waiting.has(node)) this.#miss(call, node)
  }

  /** Ends all, with whatever came. */
  close(): void {
    for (const call of this.#calls.values()) this.#end(call)
  }

  #miss(call: Call, node: string): void {
    call.missing.add(node)
    this.#done(call, node)
  }

  #done(call: Call, node: string): void {
    if (call.waiting.delete(node) && call.waiting.size === 0) call.finish()
  }

  #end(call: Call): void {
    call.waiting.delete(HOLD)
    for (const node of call.waiting) call.missing.add(node)
    call.finish()
  }
}
