import { randomUUID } from 'node:crypto'
import type { Msg, NatsConnection, Subscription } from '@nats-io/transport-node'
import { pause } from '../backplane/backoff.ts'

// No channel of a hub has a colon.
/** Answered with the name of its server by one backplane of each server. */
const ASK = 'wshub:servers'
/** Heard by all backplanes: one has come to the server of this name. */
const HERE = 'wshub:here'

/** How long who joins waits for answers from servers that it does not know yet. */
const JOIN_MS = 250
/**
 * How long it waits for the servers that it knows: one that has come back needs a moment to find the others.
 */
const REJOIN_MS = 2_000
/** How long a subscription waits for a server that has become silent. */
const SYNC_MS = 1_000

const EMPTY = Buffer.alloc(0)

/**
 * The servers of a NATS cluster that have backplanes. A server confirms a subscription at once, and tells the
 * others of it at its leisure: what somebody publishes there meanwhile is lost. What is sent to the others
 * afterwards takes the same way, so an answer to it shows that they know.
 */
export class NatsServers {
  readonly #known = new Set<string>()
  readonly #inbox = `wshub:reply.${randomUUID()}`
  readonly #rounds = new Map<string, Round>()
  #nextRound = 0
  #connection: NatsConnection | undefined
  #own = ''
  #subscriptions: Subscription[] = []

  /** Begins to answer. A server that stands alone has nobody to ask, nor anybody who asks. */
  attach(connection: NatsConnection): void {
    this.detach()
    const { info } = connection
    if (info?.cluster === undefined) return
    this.#connection = connection
    this.#own = info.server_id
    this.#known.add(this.#own)
    const hear = (subject: string, onMessage: (message: Msg) => void, queue?: string) => {
      const callback = (error: Error | null, message: Msg) => {
        if (error === null) onMessage(message)
      }
      this.#subscriptions.push(connection.subscribe(subject, { callback, ...(queue && { queue }) }))
    }
    hear(ASK, (message) => this.#answer(message), this.#own)
    hear(HERE, (message) => this.#known.add(message.string()))
    hear(`${this.#inbox}.*`, (message) => this.#answered(message.subject, message.string()))
  }

  /** The server that we leave is forgotten: it may have died. */
  detach(): void {
    for (const subscription of this.#subscriptions) subscription.unsubscribe()
    this.#subscriptions = []
    this.#connection = undefined
    this.#known.delete(this.#own)
  }

  /** Gets to know the servers, and they ours. Resolves when they know what was subscribed before. */
  async join(): Promise<void> {
    const end = performance.now() + REJOIN_MS
    let missing = new Set<string>()
    do {
      this.#connection?.publish(HERE, this.#own)
      missing = await this.#ask(JOIN_MS, true)
    } while (missing.size > 0 && performance.now() < end && this.#connection !== undefined)
    for (const server of missing) this.#known.delete(server)
  }

  /** Resolves when the servers know what was subscribed before, or one has been silent for too long. */
  async sync(): Promise<void> {
    for (const server of await this.#ask(SYNC_MS, false)) this.#known.delete(server)
  }

  /**
   * Returns who did not answer. One who is patient waits for answers of servers that it does not know, too.
   */
  async #ask(ms: number, isPatient: boolean): Promise<Set<string>> {
    const missing = new Set(this.#known)
    if (this.#connection === undefined) return missing
    const subject = `${this.#inbox}.${this.#nextRound++}`
    const allAnswered = new AbortController()
    this.#rounds.set(subject, { missing, onAll: () => isPatient || allAnswered.abort() })
    this.#connection.publish(ASK, EMPTY, { reply: subject })
    await pause(ms, allAnswered.signal, false)
    this.#rounds.delete(subject)
    return missing
  }

  #answered(subject: string, server: string): void {
    this.#known.add(server)
    const round = this.#rounds.get(subject)
    round?.missing.delete(server)
    if (round?.missing.size === 0) round.onAll()
  }

  #answer(message: Msg): void {
    try {
      message.respond(this.#own)
    } catch {
      // The connection is being drained. Thrown out of here, it would end the loop in which the client reads.
    }
  }
}

interface Round {
  readonly missing: Set<string>
  readonly onAll: () => void
}
