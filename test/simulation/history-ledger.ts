import type { HistoryPage, ResumeResult } from 'wshub'
import type { HistoryEngine, Kept } from './history-engine.ts'
import type { LedgerHost } from './ledger.ts'
import { NEVER, type Session } from './records.ts'

/** Stands in a list of positions where the client was notified that messages are lost. */
const BEHIND = 'behind'

/** Where a client asks for a replay to begin. */
export interface Ask {
  readonly room: string
  readonly since?: string | undefined
  readonly last?: number | undefined
}

/** A message that was published to a room with a history. */
interface Published {
  readonly by: string
  readonly room: string
  readonly order: number
  readonly exceptNames: readonly string[]
  /** The stays on the publisher's node that were live then, and how many losses each had been notified of. */
  readonly live: ReadonlyMap<Stay, number>
  /** How many losses each stay in the room had been notified of. */
  readonly behinds: ReadonlyMap<Stay, number>
  /** The positions at which it is or was stored; another one when its room has begun another epoch. */
  readonly positions: Set<string>
}

/** The time of one connection in a room with a history, from a call of `resumeRoom` or `joinRoom` on. */
export interface Stay {
  readonly token: string
  readonly session: Session
  readonly ask: Ask
  /** The losses of the store when the call was made, and how many messages of the room it certainly had. */
  readonly losses: number
  readonly kept: number
  /** The number of messages that it had when the call returned. */
  newest: number
  /** The result of the call; `away`: the store could not be read. */
  result: ResumeResult | 'joined' | 'away' | undefined
  /** Positions in the order in which the client received them, and `BEHIND`; from the first unchecked one. */
  readonly events: string[]
  readonly received: Set<string>
  /** The latest message that was checked; `undefined` if any message may be the next. */
  previous: string | undefined
  /** The latest message that the client had of an earlier stay when this one began for it. */
  held: string | undefined
  /** How many times its node has reported that messages are lost. */
  behinds: number
  /** Whether none of its messages was checked yet. */
  isFirst: boolean
  /** Whether the connection has left the room, or has begun another stay there. */
  hasEnded: boolean
}

/** The messages stored, replayed and received of rooms with a history, and the rules that they must keep. */
export class HistoryLedger {
  readonly #host: LedgerHost
  readonly #engine: HistoryEngine
  /** How many messages a room certainly keeps; 0 if they expire soon. */
  readonly #mostKept: number
  #order = 0
  readonly #published = new Map<string, Published>()
  /** By position. */
  readonly #kept = new Map<string, Kept & { readonly losses: number; readonly index: number }>()
  /** By room: the messages stored since the latest loss. */
  readonly #counts = new Map<string, { readonly losses: number; readonly count: number }>()
  readonly #stays = new Map<string, Stay>()
  /**
   * By session and room: the latest stay that the node has begun, and the latest that the client knows of.
   */
  readonly #atNode = new Map<string, Stay>()
  readonly #atClient = new Map<string, Stay>()
  /** Sessions for which messages were dropped that are to be replayed. */
  readonly #resynced = new Set<string>()
  /** By place of a client and room: the latest position up to which it certainly has every message. */
  readonly #since = new Map<string, string>()
  /** By publisher and room: the latest message stored. */
  readonly #latest = new Map<string, number>()

  constructor(host: LedgerHost, engine: HistoryEngine, mostKept: number) {
    this.#host = host
    this.#engine = engine
    this.#mostKept = mostKept
    engine.bus.onAppend = (kept) => this.#stored(kept)
    engine.bus.onMove = (kept) => this.#moved(kept)
  }

  /** The number of messages that were published. */
  get size(): number {
    return this.#published.size
  }

  /** The position from which a client wants to continue. */
  sinceOf(place: number, room: string): string | undefined {
    return this.#since.get(`${place} ${room}`)
  }

  /** Records a message that is about to be published. @returns its id */
  publish(by: string, room: string, exceptNames: readonly string[] = []): string {
    const order = ++this.#order
    const live = new Map<Stay, number>()
    for (const stay of this.#atNode.values()) {
      if (stay.ask.room === room && stay.session.node === by && this.#isLive(stay))
        live.set(stay, stay.behinds)
    }
    const behinds = new Map([...this.#atNode.values()].map((stay) => [stay, stay.behinds]))
    this.#published.set(`h${order}`, { by, room, order, exceptNames, live, behinds, positions: new Set() })
    return `h${order}`
  }

  /** Checks the position with which a publish has resolved. */
  resolved(id: string, position: string): void {
    if (this.#published.get(id)?.positions.has(position) === true) return
    this.#host.fail('store', `the publish of ${id} resolves with ${position}, where it is not stored`)
  }

  /** Records that a connection is about to be put into a room. */
  begin(session: Session, ask: Ask): Stay {
    const { losses } = this.#engine
    const { room } = ask
    const counted = this.#counts.get(room)
    const count = counted?.losses === losses ? counted.count : 0
    this.left(session, room)
    const stay: Stay = {
      token: `s${++this.#order}`,
      session,
      ask,
      losses,
      kept: Math.min(count, this.#mostKept),
      newest: Number.POSITIVE_INFINITY,
      result: undefined,
      events: [],
      received: new Set(),
      previous: undefined,
      held: undefined,
      behinds: 0,
      isFirst: true,
      hasEnded: false,
    }
    this.#atNode.set(`${session.name} ${room}`, stay)
    this.#stays.set(stay.token, stay)
    return stay
  }

  /** Records that a connection leaves a room. */
  left(session: Session, room: string): void {
    const stay = this.#atNode.get(`${session.name} ${room}`)
    if (stay !== undefined) stay.hasEnded = true
  }

  /** Records the result of a call. */
  began(stay: Stay, result: NonNullable<Stay['result']>): void {
    stay.result = result
    const { token, session, ask } = stay
    const shown = typeof result === 'string' ? result : JSON.stringify(result)
    this.#host.trace(`${token} of ${session.name} in ${ask.room}: ${shown}`)
    if (result === 'away') stay.previous = ask.since
    if (typeof result === 'string') return
    const { complete, replayed, position, ended } = result
    if (ended !== undefined && (complete || position !== '')) {
      this.#host.fail('replay', `${token} of ${session.name} has ended: ${ended}, and has a result`)
    }
    if (ended === undefined && ask.since !== undefined) stay.previous = ask.since
    else if (replayed === 0 && position !== '') stay.previous = position
    const counted = this.#counts.get(ask.room)
    if (counted?.losses === stay.losses) stay.newest = counted.count
    const at = this.#kept.get(position)
    if (replayed === 0 && at?.losses === stay.losses) this.#checkFirst(stay, at.index + 1)
  }

  /** Records that a node has reported to a connection that messages are lost. */
  fellBehind(session: string, room: string): void {
    const stay = this.#atNode.get(`${session} ${room}`)
    if (stay !== undefined) stay.behinds++
  }

  /** Records that messages were dropped for a connection that are to be replayed. */
  resynced(session: string): void {
    this.#resynced.add(session)
  }

  /** Records and checks a message that a client has received. */
  received(place: number, name: string, id: string, position: string): void {
    this.#host.trace(`${name} receives ${id} at ${position}`)
    const fail = (rule: string, what: string) => this.#host.fail(rule, `${name} receives ${id}${what}`)
    const kept = this.#kept.get(position)
    const stay = this.#atClient.get(`${name} ${kept?.room}`)
    if (kept?.id !== id) fail('store', ` at ${position}, where ${kept?.id ?? 'nothing'} is stored`)
    else if (stay === undefined) fail('recipients', ` of ${kept.room}, where it never was`)
    else {
      if (!this.#isFor(position, stay)) fail('recipients', ', which excludes it')
      if (stay.received.has(position)) fail('twice', ' twice')
      if (this.#isBefore(stay, position)) fail('twice', `, and has said that it has ${stay.ask.since}`)
      stay.received.add(position)
      stay.events.push(position)
      this.#since.set(`${place} ${kept.room}`, position)
    }
  }

  /** Records and checks a message of the application itself to a client. */
  told(place: number, name: string, text: string): void {
    this.#host.trace(`${name} is told ${text}`)
    const [what, subject = '', position = ''] = text.split(' ')
    if (what === 'after') this.#checkAfter(name, subject)
    else if (what === 'behind') this.#atClient.get(`${name} ${subject}`)?.events.push(BEHIND)
    const stay = this.#stays.get(subject)
    if (stay === undefined) return
    const { room } = stay.ask
    if (what === 'begin') {
      const earlier = this.#atClient.get(`${name} ${room}`)
      stay.held = [...(earlier?.received ?? [])].at(-1)
      this.#atClient.set(`${name} ${room}`, stay)
    } else if (what === 'live' && this.#atClient.get(`${name} ${room}`) === stay) {
      const since = [...stay.received].at(-1) ?? position
      if (since !== '') this.#since.set(`${place} ${room}`, since)
    }
  }

  /** Checks a page of the history. */
  page(node: string, { room, since, last }: Ask, { messages, complete, position }: HistoryPage): void {
    const fail = (what: string) =>
      this.#host.fail('history', `${node} reads ${room} ${since} ${last}: ${what}`)
    let previous = complete ? since : undefined
    for (const message of messages) {
      const kept = this.#kept.get(message.position)
      if (kept === undefined || !message.data.toString().startsWith(`${kept.id}@${message.position} `)) {
        fail(`${message.data} at ${message.position} is not what is stored`)
      } else if (previous !== undefined && !isSame(kept.before, previous)) {
        fail(`${message.position} comes after ${kept.before}, not after ${previous}`)
      }
      previous = message.position
    }
    if (previous !== undefined && !isSame(position, previous)) fail(`it ends at ${position}, not ${previous}`)
    if (last !== undefined && since === undefined && messages.length > last)
      fail(`${messages.length} messages`)
  }

  /** Checks the messages received so far. */
  check(): void {
    for (const stay of this.#stays.values()) this.#checkStay(stay)
  }

  /** Describes each stay that is not up to date: it has neither every message nor a report of the loss. */
  unsettled(markers: ReadonlyMap<string, string>): string[] {
    return [...this.#atNode.values()].flatMap((stay) => {
      const { token, session, ask, previous, held, result } = stay
      if (stay.hasEnded || !session.isOpen || !this.#host.isAlive(session.node)) return []
      const say = (what: string) => [`${token}: ${session.name} at ${session.node} in ${ask.room} ${what}`]
      if (result === undefined) return say('never becomes live')
      const marker = markers.get(ask.room)
      const mayExpire = this.#mostKept === 0 && previous === undefined
      if (
        marker !== undefined &&
        !mayExpire &&
        !this.#hasReceived(stay, marker) &&
        !this.#isExcused(stay, marker)
      )
        return say(`lacks ${marker}`)
      const head = this.#engine.headOf(ask.room)
      if (previous === undefined) return []
      if ([previous, held].some((at) => this.#reaches(stay, at, head))) return []
      return say(`stands at ${previous}, and the store at ${head}`)
    })
  }

  #stored(kept: Kept): void {
    const { id, room, position } = kept
    const published = this.#published.get(id)
    const { losses } = this.#engine
    this.#host.trace(`${id} is stored in ${room} at ${position}`)
    if (published === undefined || published.room !== room) {
      this.#host.fail('store', `${id} is stored in ${room}, where nobody published it`)
      return
    }
    if (published.positions.size > 0) this.#host.fail('twice', `${id} is stored twice`)
    published.positions.add(position)
    const counted = this.#counts.get(room)
    const index = counted?.losses === losses ? counted.count : 0
    this.#counts.set(room, { losses, count: index + 1 })
    this.#kept.set(position, { ...kept, losses, index })
    const sequence = `${published.by} ${room}`
    if (published.order < (this.#latest.get(sequence) ?? 0)) {
      this.#host.fail('order', `${id} of ${published.by} is stored after a later one`)
    }
    this.#latest.set(sequence, published.order)
  }

  #moved(kept: Kept): void {
    this.#host.trace(`${kept.id} is now at ${kept.position}`)
    this.#published.get(kept.id)?.positions.add(kept.position)
    this.#kept.set(kept.position, { ...kept, losses: NEVER, index: 0 })
  }

  /**
   * Whether a node has reported a loss in place of a message: its room had begun anew, or more was stored
   * since the latest message that the client has than the room keeps.
   */
  #isExcused(stay: Stay, id: string): boolean {
    const published = this.#published.get(id)
    if (published === undefined || stay.behinds <= (published.behinds.get(stay) ?? 0)) return false
    if (this.#engine.losses > 0) return true
    let missing = 0
    let [at] = published.positions
    for (; at !== undefined && !stay.received.has(at); at = this.#kept.get(at)?.before) missing++
    return this.#mostKept > 0 && missing > this.#mostKept // 0: messages expire, none is pushed out
  }

  #hasReceived({ received }: Stay, id: string): boolean {
    return [...(this.#published.get(id)?.positions ?? [])].some((position) => received.has(position))
  }

  /** Whether a client had received a message before it asked for what came after its position. */
  #isBefore({ ask, result }: Stay, position: string): boolean {
    const kept = this.#kept.get(position)
    const since = this.#kept.get(ask.since ?? '')
    if (kept === undefined || since === undefined || result === 'away') return false
    const { losses } = this.#engine
    if (kept.room !== since.room || kept.losses !== losses || since.losses !== losses) return false
    return kept.index <= since.index
  }

  #isLive({ result, hasEnded, session }: Stay): boolean {
    return typeof result === 'object' && !hasEnded && session.isOpen && !this.#resynced.has(session.name)
  }

  #isFor(position: string, { session }: Stay): boolean {
    const id = this.#kept.get(position)?.id ?? ''
    return this.#published.get(id)?.exceptNames.includes(session.name) !== true
  }

  /** Returns whether a client at one position has missed no message before another one. */
  #reaches(stay: Stay, from: string | undefined, to: string | undefined): boolean {
    if (from === undefined || to === undefined) return false
    let at = to
    for (let kept = this.#kept.get(at); kept !== undefined; kept = this.#kept.get(at)) {
      if (isSame(at, from) || this.#isFor(at, stay)) break
      at = kept.before
    }
    return isSame(at, from)
  }

  /** Checks that a message follows the one received before it, unless a loss was reported in between. */
  #checkStay(stay: Stay): void {
    if (stay.result === undefined) return
    for (const event of stay.events.splice(0)) {
      if (event === BEHIND) {
        stay.previous = undefined
        continue
      }
      const { before = '', index = 0, losses = 0 } = this.#kept.get(event) ?? {}
      const { previous, isFirst } = stay
      stay.previous = event
      const follows = stay.ask.since !== undefined && previous !== undefined // its position: checked below
      if (isFirst && losses === stay.losses && !follows) this.#checkFirst(stay, index)
      stay.isFirst = false
      if (previous === undefined || this.#reaches(stay, previous, before)) continue
      // What was waiting for the client when it asked again was sent before the new stay began for it.
      if (isFirst && this.#reaches(stay, stay.held, before)) continue
      const { token, session, ask } = stay
      this.#host.fail(
        'gap',
        `${token}: ${session.name} at ${session.node} in ${ask.room} receives ${event}, ` +
          `which comes after ${before}, after ${previous}`,
      )
    }
  }

  /**
   * Checks that a client begins with as many of the latest messages as it has asked for: a newcomer, or one
   * that was told that messages after its position are lost.
   * @param first the first message that it receives, or the next one after its position
   */
  #checkFirst(stay: Stay, first: number): void {
    const { session, ask, result, newest, kept, losses, behinds } = stay
    if (typeof result !== 'object' || result.ended !== undefined) return
    if (behinds > (result.complete ? 0 : 1)) return
    // The position was lost, and no message since: the latest ones come in its place.
    const isLost = ask.since !== undefined && epochOf(ask.since) !== epochOf(result.position)
    const isFallback = !result.complete && isLost && ask.last !== undefined && newest <= this.#mostKept
    if (!isFallback && (!result.complete || ask.since !== undefined)) return
    if (losses !== this.#engine.losses || this.#resynced.has(session.name)) return
    const isExcluded = [...this.#published.values()].some(
      ({ room, exceptNames }) => room === ask.room && exceptNames.includes(session.name),
    )
    const expected = newest - Math.min(ask.last ?? 0, kept)
    if (isExcluded || first <= expected) return
    this.#host.fail('replay', `${session.name} begins with message ${first} of ${ask.room}, not ${expected}`)
  }

  /** Checks that a message whose publish has resolved was delivered to the members on its node. */
  #checkAfter(name: string, id: string): void {
    const { live, exceptNames } = this.#published.get(id) ?? {}
    if (live === undefined || exceptNames?.includes(name) === true) return
    for (const [stay, behinds] of live) {
      if (stay.session.name !== name || !this.#isLive(stay) || stay.behinds > behinds) continue
      if (this.#atClient.get(`${name} ${stay.ask.room}`) !== stay || this.#hasReceived(stay, id)) continue
      this.#host.fail('publish', `${name} has not received ${id}, whose publish has resolved`)
    }
  }
}

function epochOf(position: string): string | undefined {
  return position.split('.')[0]
}

/** Returns whether two positions are the same, of which one may have no tag. */
function isSame(a: string, b: string): boolean {
  return a === b || a.startsWith(`${b}.`) || b.startsWith(`${a}.`)
}
