import { oldestKeys } from '../base/eviction.ts'
import type { Barrier } from './wire/envelope.ts'
import { isRead, type NodeRequest } from './wire/request.ts'

/** Most bytes of requests and barriers that wait at once; a request beyond that is refused. */
const MAX_HELD_BYTES = 16_777_216
/** Bytes that a request, or an envelope of barriers, counts in addition to its own. */
const STEP_OVERHEAD_BYTES = 256
/** Most channels of nodes on which requests are refused at once. */
const MAX_REFUSED_CHANNELS = 10_000

/** The receiver of held requests. */
export interface HeldRequestsHost {
  /** Returns whether the requests that wait for a barrier may proceed. */
  isPassed(node: string, barrier: Barrier): boolean
  /** The messages of a barrier, which came at a time of `performance.now()`, did not arrive in time. */
  expired(node: string, barrier: Barrier, cameAt: number): void
  /** Answers a request. */
  ask(node: string, id: number, request: NodeRequest): void
  /** The request cannot be answered, since messages before it may be missing. */
  refuse(node: string, id: number, reason: string): void
}

/** An envelope with a request or barriers: who published it, on which channel, and its size. */
export interface Arrival {
  readonly node: string
  readonly channel: string
  readonly bytes: number
}

/** Barriers that are not passed, and until when they are waited for, in ms of `performance.now()`. */
interface BarrierStep {
  readonly barriers: Map<string, Barrier>
  readonly endsAt: number
}

type Step = { readonly bytes: number } & (
  | BarrierStep
  | { readonly id: number; readonly request: NodeRequest }
)

/** The requests and barriers of one node, in order. The first step is one of barriers. */
interface Queue {
  readonly steps: Step[]
  timer: NodeJS.Timeout | undefined
}

/**
 * Holds requests that arrive before messages which were published before them, since channels may take
 * different paths through an engine. The requests of one node are answered in order. None waits for longer
 * than `holdMs`.
 */
export class HeldRequests {
  readonly #host: HeldRequestsHost
  readonly #holdMs: number
  readonly #maxBytes: number
  readonly #queues = new Map<string, Queue>()
  /**
   * Nodes and channels whose barriers are unknown: until when requests that depend on them are refused, in ms
   * of `performance.now()`; the earliest first.
   */
  readonly #refusedUntil = new Map<string, number>()
  #bytes = 0

  constructor(host: HeldRequestsHost, holdMs: number, maxBytes = MAX_HELD_BYTES) {
    this.#host = host
    this.#holdMs = holdMs
    this.#maxBytes = maxBytes
  }

  /** Bytes that wait. */
  get bytes(): number {
    return this.#bytes
  }

  /** Adds barriers: requests of that node that arrive from now on wait for their messages. */
  add({ node, channel, bytes }: Arrival, barriers: readonly Barrier[]): void {
    const open = barriers.filter((barrier) => !this.#host.isPassed(node, barrier))
    if (open.length === 0) return
    if (!this.#fits(bytes)) {
      this.missed(node, channel)
      return
    }
    const byChannel = new Map(open.map((barrier) => [barrier.channel, barrier]))
    this.#push(node, { bytes, barriers: byChannel, endsAt: performance.now() + this.#holdMs })
  }

  /** Adds a request: it is answered at once, or after everything before it. */
  ask({ node, channel, bytes }: Arrival, id: number, request: NodeRequest): void {
    if (!isRead(request.op) && this.#isRefused(node, channel)) {
      this.#host.refuse(node, id, 'messages before the call may be missing')
    } else if (!this.#queues.has(node)) this.#host.ask(node, id, request)
    else if (!this.#fits(bytes)) this.#host.refuse(node, id, 'the node is busy with other calls')
    else this.#push(node, { bytes, id, request })
  }

  /**
   * Called when barriers of that node on a channel are unknown, or may be: envelopes were lost, or there was
   * no room. Refuses requests on the channel for as long as the barriers would have been held. Barriers are
   * published once, before the first request that depends on them, so a later request does not say what it
   * depends on.
   */
  missed(node: string, channel: string): void {
    const key = keyOf(node, channel)
    this.#refusedUntil.delete(key)
    this.#refusedUntil.set(key, performance.now() + this.#holdMs)
    if (this.#refusedUntil.size <= MAX_REFUSED_CHANNELS) return
    for (const oldest of oldestKeys(this.#refusedUntil, MAX_REFUSED_CHANNELS)) {
      this.#refusedUntil.delete(oldest)
    }
  }

  /** Called when the next request of that node on a channel repeats the barriers that matter. */
  begunAnew(node: string, channel: string): void {
    this.#refusedUntil.delete(keyOf(node, channel))
  }

  /** An envelope of that node has arrived on a channel. */
  progressed(node: string, channel: string): void {
    const queue = this.#queues.get(node)
    const [head] = queue?.steps ?? []
    if (queue === undefined || head === undefined || !('barriers' in head)) return
    const barrier = head.barriers.get(channel)
    if (barrier === undefined || !this.#host.isPassed(node, barrier)) return
    head.barriers.delete(channel)
    if (head.barriers.size === 0) this.#advance(node, queue)
  }

  /** Drops everything that waits. */
  close(): void {
    for (const { timer } of this.#queues.values()) clearTimeout(timer)
    this.#queues.clear()
    this.#refusedUntil.clear()
    this.#bytes = 0
  }

  #isRefused(node: string, channel: string): boolean {
    const key = keyOf(node, channel)
    const endsAt = this.#refusedUntil.get(key)
    if (endsAt === undefined) return false
    if (performance.now() < endsAt) return true
    this.#refusedUntil.delete(key)
    return false
  }

  #fits(bytes: number): boolean {
    return this.#bytes + bytes + STEP_OVERHEAD_BYTES <= this.#maxBytes
  }

  #push(node: string, step: Step): void {
    this.#bytes += step.bytes + STEP_OVERHEAD_BYTES
    const queue = this.#queues.get(node)
    if (queue !== undefined) {
      queue.steps.push(step)
      return
    }
    const first: Queue = { steps: [step], timer: undefined }
    this.#queues.set(node, first)
    this.#advance(node, first)
  }

  /** Proceeds up to the next barriers that are not passed. */
  #advance(node: string, queue: Queue): void {
    clearTimeout(queue.timer)
    for (;;) {
      const [step] = queue.steps
      if (step === undefined) {
        this.#queues.delete(node)
        return
      }
      if ('barriers' in step) {
        const { barriers, endsAt } = step
        for (const [channel, barrier] of barriers) {
          if (this.#host.isPassed(node, barrier)) barriers.delete(channel)
        }
        if (barriers.size > 0) {
          const ms = Math.max(0, Math.ceil(endsAt - performance.now()))
          queue.timer = setTimeout(() => this.#expire(node, queue, step), ms).unref()
          return
        }
      }
      queue.steps.shift()
      this.#bytes -= step.bytes + STEP_OVERHEAD_BYTES
      if (!('request' in step)) continue
      this.#host.ask(node, step.id, step.request)
      if (this.#queues.get(node) !== queue) return // the application has closed the hub
    }
  }

  #expire(node: string, queue: Queue, { barriers, endsAt }: BarrierStep): void {
    for (const barrier of barriers.values()) this.#host.expired(node, barrier, endsAt - this.#holdMs)
    barriers.clear()
    this.#advance(node, queue)
  }
}

/** A node id has no spaces. */
function keyOf(node: string, channel: string): string {
  return `${node} ${channel}`
}
