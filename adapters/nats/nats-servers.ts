import { randomUUID } from 'node:crypto'
import { setImmediate as turnEnd } from 'node:timers/promises'
import type { Msg, NatsConnection, Subscription } from '@nats-io/transport-node'
import { pause } from '../backplane/backoff.ts'

// The channels of a hub contain no colon.
/** One backplane of each server answers with the name of its server. */
const ASK = 'wshub:servers'
/** All backplanes receive it: one of them has connected to the server of this name. */
const HERE = 'wshub:here'

/** How long a backplane that joins waits for answers from servers that it does not know yet. */
const JOIN_MS = 250
/** How long it waits for the servers that it knows: a restarted server needs a moment to find the others. */
const REJOIN_MS = 2_000
/** How long a subscription waits for a server that does not answer any more. */
const SYNC_MS = 1_000

const EMPTY = Buffer.alloc(0)

/**
 * The servers of a NATS cluster that have backplanes. A server confirms a subscription at once, but informs
 * the others asynchronously: a message published there in between is lost. A request sent to the others
 * afterwards takes the same route, so an answer to it shows that they know the subscription.
 */
export class NatsServers {
  readonly #known = new Set<string>()
  readonly #inbox = `wshub:reply.${randomUUID()}`
  readonly #rounds = new Map<string, Round>()
  #nextRound = 0
  #connection: NatsConnection | undefined
  #own = ''
  #subscriptions: Subscription[] = []

  /** Starts to answer requests. A server without a cluster has no others to ask. */
  attach(connection: NatsConnection): void {
    this.detach()
    const { info } = connection
    if (info?.cluster === undefined) return
    this.#connection = connection
    this.#own = info.server_id
    this.#known.add(this.#own)
    const listen = (subject: string, onMessage: (message: Msg) => void, queue?: string) => {
      const callback = (error: Error | null, message: Msg) => {
        if (error === null) onMessage(message)
      }
      this.#subscriptions.push(connection.subscribe(subject, { callback, ...(queue && { queue }) }))
    }
    listen(ASK, (message) => this.#answer(message), this.#own)
    listen(HERE, (message) => this.#known.add(message.string()))
    listen(`${this.#inbox}.*`, (message) => this.#answered(message.subject, message.string()))
  }

  /** Stops, and forgets the server of the connection: it may have failed. */
  detach(): void {
    for (const subscription of this.#subscriptions) subscription.unsubscribe()
    this.#subscriptions = []
    this.#connection = undefined
    this.#known.delete(this.#own)
  }

  /** Finds the other servers, and announces ours. Resolves when they know the subscriptions made before. */
  async join(): Promise<void> {
    const end = performance.now() + REJOIN_MS
    let missing = new Set<string>()
    do {
      this.#connection?.publish(HERE, this.#own)
      missing = await this.#ask(JOIN_MS, true)
    } while (missing.size > 0 && performance.now() < end && this.#connection !== undefined)
    for (const server of missing) this.#known.delete(server)
  }

  /** Resolves when the servers know the subscriptions made before, or one has not answered in time. */
  async sync(): Promise<void> {
    for (const server of await this.#ask(SYNC_MS, false)) this.#known.delete(server)
  }

  /**
   * Asks all servers, and returns those that did not answer.
   * @param isJoining waits the whole time, for answers from servers that are not known yet
   */
  async #ask(ms: number, isJoining: boolean): Promise<Set<string>> {
    const missing = new Set(this.#known)
    if (this.#connection === undefined) return missing
    const subject = `${this.#inbox}.${this.#nextRound++}`
    const allAnswered = new AbortController()
    this.#rounds.set(subject, { missing, onAll: () => isJoining || allAnswered.abort() })
    this.#connection.publish(ASK, EMPTY, { reply: subject })
    await pause(ms, allAnswered.signal, false)
    await turnEnd() // an answer that arrived while the process was busy is read first
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
      // The connection is being drained. An error thrown here would end the client's read loop.
    }
  }
}

interface Round {
  readonly missing: Set<string>
  readonly onAll: () => void
}
