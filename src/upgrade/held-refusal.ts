import type { Duplex } from 'node:stream'

/** Methods by which an `upgrade` listener answers or closes the socket. */
const METHODS = ['write', 'end', 'destroy', 'destroySoon'] as const

/** The beginning of an answer that refuses an upgrade. */
const REFUSAL = /^HTTP\/1\.[01] [345]\d\d\s/

/** The beginning of an answer that accepts one. */
const SWITCH = /^HTTP\/1\.[01] 101\s/

/**
 * Holds back, for the rest of the tick, calls by which other `upgrade` listeners end a connection.
 * `WebSocketServer` of `ws` with `{ server, path }` answers 400 to every path but its own, in the tick of the
 * event, before a route that would take the request has run. A listener that accepts is not held back, and no
 * other listener can end a connection that it has accepted. The public methods of the socket are shadowed,
 * and restored in the next tick.
 */
export class HeldRefusal {
  readonly #calls: (() => void)[] = []
  readonly #restore: (() => void)[] = []
  readonly #socket: Duplex
  readonly #listenersBefore: number
  #isAccepted = false
  #isSwitched = false
  /** Whether calls were held back that must not take effect later either. */
  #isDropped = false

  constructor(socket: Duplex) {
    this.#socket = socket
    this.#listenersBefore = countListeners(socket)
    for (const method of METHODS) this.#shadow(socket, method)
    process.nextTick(() => {
      for (const restore of this.#restore.splice(0)) restore()
    })
  }

  /** Returns whether another listener has refused the request, and none has accepted it. */
  get isRefused(): boolean {
    return this.#calls.length > 0
  }

  /** Whether another listener has answered with 101. */
  get isSwitched(): boolean {
    return this.#isSwitched
  }

  /**
   * The number of listeners that were added to the socket since the event, ours among them. Those for errors
   * do not count: Vite and Next.js add one to each socket that they leave to others.
   */
  get addedListeners(): number {
    return countListeners(this.#socket) - this.#listenersBefore
  }

  /** Performs the calls that were held back. */
  send(): void {
    this.#isDropped = false
    for (const call of this.#calls) call()
  }

  #shadow(socket: Duplex, method: (typeof METHODS)[number]): void {
    const own = Object.getOwnPropertyDescriptor(socket, method)
    const original: unknown = Reflect.get(socket, method)
    if (typeof original !== 'function') return // a duplex stream has no `destroySoon`
    const call = (args: unknown[]): unknown => Reflect.apply(original, socket, args)
    this.#restore.push(() => {
      if (own === undefined) Reflect.deleteProperty(socket, method)
      else Object.defineProperty(socket, method, own)
    })
    const value = (...args: unknown[]): unknown => {
      // `ws` keeps this function as a listener, to destroy the socket once its refusal is sent.
      if (this.#restore.length === 0) return this.#isDropped ? socket : call(args)
      const isWritten = method === 'write' || method === 'end'
      if (this.#isAccepted ? !(isWritten && isRefusal(args[0])) : isWritten && isAcceptance(args[0])) {
        this.#isAccepted = true
        this.#isSwitched ||= SWITCH.test(startOf(args[0]))
        this.#calls.length = 0 // by a listener that ran before the one that accepts
        return call(args)
      }
      this.#isDropped = true
      if (!this.#isAccepted) this.#calls.push(() => void call(args))
      return method === 'write' ? true : socket
    }
    Object.defineProperty(socket, method, { configurable: true, writable: true, value })
  }
}

function countListeners(socket: Duplex): number {
  const events = socket.eventNames().filter((event) => event !== 'error')
  return events.reduce((count, event) => count + socket.listenerCount(event), 0)
}

function isRefusal(chunk: unknown): boolean {
  return REFUSAL.test(startOf(chunk))
}

/** Returns whether the written data is not a refusal. */
function isAcceptance(chunk: unknown): boolean {
  const start = startOf(chunk)
  return start !== '' && !REFUSAL.test(start)
}

/** Returns the first characters that are written; empty for a call without data. */
function startOf(chunk: unknown): string {
  if (typeof chunk !== 'string' && !(chunk instanceof Uint8Array)) return ''
  return Buffer.from(chunk.slice(0, 16)).toString('latin1')
}
