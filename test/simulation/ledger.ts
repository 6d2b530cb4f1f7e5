import {
  DIRECT,
  EVERYONE,
  isIn,
  isSurelyIn,
  type Membership,
  mayExclude,
  NEVER,
  type Order,
  type Sent,
  type Session,
} from './records.ts'

interface ReportedGap {
  readonly at: string
  readonly by: string
  /** The channel: a room, {@link EVERYONE} or {@link DIRECT}. */
  readonly place: string
  readonly count: number
  readonly order: Order
  /**
   * Whether no message of the publisher had arrived since the subscription was confirmed. The missing message
   * may have arrived before that, or be older.
   */
  readonly isFirst: boolean
  /** Whether the publisher had ended, and what was on its way from it is lost. */
  readonly isOver: boolean
}

/** Most time, in ms, between publishing a message and receiving it. */
const MOST_WAY_MS = 300

/** The host of a ledger. */
export interface LedgerHost {
  trace(line: string): void
  fail(rule: string, what: string): void
  /** Whether a node is neither closed nor killed. */
  isAlive(node: string): boolean
}

/** The messages published, received and reported in a simulation, and the rules that they must keep. */
export class Ledger {
  readonly #host: LedgerHost
  #order = 0
  readonly sent = new Map<string, Sent>()
  readonly sessions = new Map<string, Session>()
  readonly #gaps: ReportedGap[] = []
  /** By node, the messages that any of its connections has received. */
  readonly #receivedAt = new Map<string, Set<string>>()
  /** By channel, publisher and receiver: the first message whose absence the receiver can detect. */
  readonly #begun = new Map<string, Order>()
  /** By channel and node: the times, in ms, at which the node followed the channel. */
  readonly #subscriptions = new Map<string, { from: number; until: number }[]>()
  /** The envelopes of barriers for which calls wait, by name. */
  readonly #barriers = new Map<string, { by: string; to: string | undefined; at: Set<string> }>()
  /**
   * By publisher and place: the number of changes of presence that were published. They count as messages.
   */
  readonly #presence = new Map<string, number>()
  /** The order of each call that follows messages. */
  readonly #calls = new Map<string, { readonly by: string; readonly order: Order }>()

  constructor(host: LedgerHost) {
    this.#host = host
  }

  /** Records a message that is about to be published. */
  publish(message: Omit<Sent, 'id' | 'order' | 'isAccepted'>): Sent {
    const order = ++this.#order
    const sent: Sent = { ...message, id: `m${order}`, order, isAccepted: undefined }
    this.sent.set(sent.id, sent)
    return sent
  }

  /** Records a call that must not overtake the messages of its node. @returns its name */
  call(by: string): string {
    const order = ++this.#order
    this.#calls.set(`call${order}`, { by, order })
    return `call${order}`
  }

  opened(name: string, node: string, id: string): void {
    if (this.sessions.has(name)) this.#host.fail('open', `${name} opens twice`)
    this.sessions.set(name, {
      name,
      node,
      id,
      isOpen: true,
      received: new Set(),
      memberships: [EVERYONE, DIRECT].map((room) => ({
        room,
        by: node,
        from: ++this.#order,
        sureHere: this.#order,
        sureAll: NEVER,
        until: NEVER,
        gone: NEVER,
      })),
      drops: 0,
      latest: new Map(),
    })
  }

  closed(name: string): void {
    const session = this.sessions.get(name)
    if (session?.isOpen === true) session.isOpen = false
    else this.#host.fail('close', `${name} closes without being open`)
  }

  /** Records that a node was killed: its connections have ended, without a callback. */
  killed(node: string): void {
    for (const session of this.sessions.values()) if (session.node === node) session.isOpen = false
  }

  /**
   * Records that a call for a join is about to be made.
   * @param by the node that asks
   * @returns the membership; `undefined` when there is one, or a call that may still end one
   */
  joining(session: Session, room: string, by: string): Membership | undefined {
    if (session.memberships.some((other) => other.room === room && other.gone === NEVER)) return undefined
    const membership = {
      room,
      by,
      from: ++this.#order,
      sureHere: NEVER,
      sureAll: NEVER,
      until: NEVER,
      gone: NEVER,
    }
    session.memberships.push(membership)
    return membership
  }

  joinedHere(membership: Membership): void {
    membership.sureHere = Math.min(membership.sureHere, ++this.#order)
  }

  joinedAll(membership: Membership): void {
    this.joinedHere(membership)
    membership.sureAll = Math.min(membership.sureAll, ++this.#order)
  }

  /**
   * Records that a connection may leave a room from now on.
   * @param by the node that asks
   * @returns what to call once it certainly has
   */
  leaving(session: Session, room: string, by: string): () => void {
    const open = session.memberships.filter(
      (membership) => membership.room === room && membership.gone === NEVER,
    )
    // A join that another node asks for at the same time may take effect later, whichever is answered first.
    const ordered = open.filter((membership) => membership.sureHere !== NEVER || membership.by === by)
    for (const membership of open) membership.until = Math.min(membership.until, ++this.#order)
    return () => {
      for (const membership of ordered) {
        // A join whose answer is missing may still take effect.
        if (membership.sureHere !== NEVER) membership.gone = Math.min(membership.gone, ++this.#order)
      }
    }
  }

  dropped(name: string, messages: number): void {
    const session = this.sessions.get(name)
    if (session !== undefined) session.drops += messages
  }

  gap(at: string, by: string, place: string, count: number): void {
    this.#host.trace(`${at} reports ${count} of ${by} in ${place} as missing`)
    const isFirst = !this.#begun.has(`${place} ${by} ${at}`)
    const isOver = !this.#host.isAlive(by)
    this.#gaps.push({ at, by, place, count, order: ++this.#order, isFirst, isOver })
  }

  /**
   * Records that the engine has delivered to a node a message of another one, on a channel that it follows.
   */
  heard(at: string, by: string, place: string): void {
    const key = `${place} ${by} ${at}`
    if (!this.#begun.has(key)) this.#begun.set(key, ++this.#order)
  }

  /** Records that a node has published barriers, to one node or to all. */
  barriersSent(name: string, by: string, to: string | undefined): void {
    this.#barriers.set(name, { by, to, at: new Set() })
  }

  /** Records that a node has published a change of presence. */
  presenceSent(by: string, place: string): void {
    this.#presence.set(`${by} ${place}`, (this.#presence.get(`${by} ${place}`) ?? 0) + 1)
  }

  barriersReceived(name: string, at: string): void {
    this.#barriers.get(name)?.at.add(at)
  }

  /** Records that a node begins to follow a channel. */
  subscribing(at: string, place: string, ms: number): void {
    const key = `${place} ${at}`
    this.#subscriptions.set(key, [...(this.#subscriptions.get(key) ?? []), { from: ms, until: NEVER }])
  }

  /** Records that a node no longer follows a channel. */
  unsubscribed(at: string, place: string, ms: number): void {
    const last = this.#subscriptions.get(`${place} ${at}`)?.at(-1)
    if (last !== undefined) last.until = ms
    for (const key of this.#begun.keys()) {
      if (key.startsWith(`${place} `) && key.endsWith(` ${at}`)) this.#begun.delete(key)
    }
  }

  /** Records and checks a message that a client has received. */
  received(client: { readonly name: string }, text: string): void {
    this.#order++
    const { name } = client
    this.#host.trace(`${name} receives ${text.slice(0, 30)}`)
    const session = this.sessions.get(name)
    const [id = ''] = text.split(' ')
    const call = this.#calls.get(id)
    const message = this.sent.get(id)
    if (session === undefined) {
      this.#host.fail('open', `${name} receives ${text} before onOpen`)
      return
    }
    if (call !== undefined) {
      this.#accountCall(session, call, `when ${id} is answered`)
      return
    }
    if (message === undefined) {
      this.#host.fail('content', `${name} receives ${text}, which nobody sent`)
      return
    }
    if (session.received.has(id)) this.#host.fail('twice', `${name} receives ${id} twice`)
    session.received.add(id)
    const atNode = this.#receivedAt.get(session.node) ?? new Set()
    this.#receivedAt.set(session.node, atNode.add(id))
    this.#checkOrder(session, message)
    this.#checkRight(session, message)
  }

  /**
   * Records that a client was closed with a reason. If the reason is the name of a call, that call closed it.
   */
  closedBy(client: { readonly name: string }, reason: string): void {
    const call = this.#calls.get(reason)
    const session = this.sessions.get(client.name)
    if (call !== undefined && session !== undefined)
      this.#accountCall(session, call, `when ${reason} ends it`)
  }

  /** Checks that a message has reached every connection that it is for. */
  checkReceived(id: string): void {
    const message = this.sent.get(id)
    if (message === undefined) return
    for (const session of this.sessions.values()) {
      if (!session.isOpen || session.received.has(id) || session.drops > 0) continue
      const isFor =
        message.scope === 'direct'
          ? message.to === session.name
          : session.memberships.some(
              ({ room, sureHere, until }) => isIn(message, room) && sureHere !== NEVER && until === NEVER,
            )
      if (isFor)
        this.#host.fail('end', `${session.name} at ${session.node} never receives ${id} of ${message.by}`)
    }
  }

  /** Checks that no gap was reported if nothing was lost. */
  checkNoGaps(): void {
    for (const { at, by, place, count, isFirst, isOver } of this.#gaps) {
      if (!isFirst && !isOver)
        this.#host.fail('reports', `${at} reports ${count} messages of ${by} in ${place}, and none was lost`)
    }
  }

  /** Checks, when nothing is under way any more, that each message was received or reported as missing. */
  checkAccounts(): void {
    const nodes = new Set([...this.sent.values()].map(({ by }) => by))
    for (const session of this.sessions.values()) {
      if (!session.isOpen || !this.#host.isAlive(session.node)) continue
      for (const by of nodes) this.#account(session, by, NEVER, 'in the end')
    }
    this.#checkGaps()
  }

  /** Checks that no more messages were reported than are missing. */
  #checkGaps(): void {
    const totals = new Map<string, ReportedGap>()
    for (const gap of this.#gaps) {
      if (gap.isFirst) continue
      const key = `${gap.at} ${gap.by} ${gap.place}`
      totals.set(key, { ...gap, count: gap.count + (totals.get(key)?.count ?? 0) })
    }
    for (const { at, by, place, count } of totals.values()) {
      if (place === DIRECT) continue // requests and responses count as well
      const received = this.#receivedAt.get(at)
      let most = this.#presence.get(`${by} ${place}`) ?? 0
      for (const message of this.sent.values()) {
        if (message.by !== by || !isIn(message, place)) continue
        // A message that was published a little earlier may have been the first to arrive.
        const isFollowed = (this.#subscriptions.get(`${place} ${at}`) ?? []).some(
          ({ from, until }) => message.at >= from - MOST_WAY_MS && message.at <= until,
        )
        // A message that waited for the cluster was published later than it was sent.
        const mayBeMissing = isFollowed || message.isAccepted === undefined
        if (!mayBeMissing) continue
        // Of a message to several rooms, one copy may be lost and another one arrive.
        if (message.scope === 'union' || received?.has(message.id) !== true) most++
      }
      if (count > most) {
        this.#host.fail(
          'reports',
          `${at} reports ${count} messages of ${by} in ${place}, at most ${most} are missing`,
        )
      }
    }
  }

  #checkOrder(session: Session, message: Sent): void {
    const sequences =
      message.by === session.node
        ? ['all']
        : message.scope === 'union'
          ? []
          : [`${message.by} ${message.scope} ${message.rooms[0] ?? ''}`]
    for (const sequence of sequences) {
      const latest = session.latest.get(sequence) ?? 0
      if (message.order < latest) {
        this.#host.fail('order', `${session.name} receives ${message.id} of ${message.by} after m${latest}`)
      }
      session.latest.set(sequence, message.order)
    }
  }

  #checkRight(session: Session, message: Sent): void {
    const { id, by, order, exceptIds, exceptRooms, scope, rooms, to } = message
    const fail = (why: string) => this.#host.fail('recipients', `${session.name} receives ${id}, ${why}`)
    if (scope === 'direct') {
      if (to !== session.name) fail(`which is for ${to}`)
      return
    }
    if (exceptIds.includes(session.name)) fail('which excludes it')
    const excluded = exceptRooms.find((room) => isSurelyIn(session, room, order))
    if (excluded !== undefined) fail(`which excludes ${excluded}`)
    if (scope === 'everyone') return
    const isHere = by === session.node
    const mayBeIn = session.memberships.some(
      ({ room, from, gone }) => rooms.includes(room) && gone > order && (!isHere || from < order),
    )
    if (!mayBeIn) fail(`which is for ${rooms}`)
  }

  /**
   * Checks that a call has not overtaken the messages before it. A node that did not get the barriers of the
   * call cannot know what to wait for, and is not checked.
   */
  #accountCall(session: Session, { by, order }: { by: string; order: Order }, when: string): void {
    for (const barriers of this.#barriers.values()) {
      const isFor = barriers.by === by && (barriers.to ?? session.node) === session.node
      if (isFor && !barriers.at.has(session.node) && by !== session.node) return
    }
    this.#account(session, by, order, when)
  }

  /** Checks the messages that a node published before `end`: each was received, or reported as missing. */
  #account(session: Session, by: string, end: Order, when: string): void {
    const isHere = by === session.node
    const isOver = !this.#host.isAlive(by)
    for (const { room, sureHere, sureAll, until } of session.memberships) {
      const since = isHere ? sureHere : sureAll
      if (since === NEVER || until !== NEVER) continue
      const expected = [...this.sent.values()].filter(
        (message) =>
          message.by === by &&
          message.order > since &&
          message.order < end &&
          (room === DIRECT ? message.to === session.name : isIn(message, room)) &&
          !mayExclude(session, message) &&
          // A call stays behind what the engine has taken.
          (end === NEVER || isHere || message.isAccepted === true),
      )
      const begun = isHere ? 0 : (this.#begun.get(`${room} ${by} ${session.node}`) ?? NEVER)
      // A message to several rooms may have come through another one.
      const latest = expected.reduce(
        (last, { id, scope }, i) => (scope !== 'union' && session.received.has(id) ? i : last),
        -1,
      )
      const missing = expected.filter(({ id }, i) => {
        if (session.received.has(id)) return false
        // Nothing shows how many messages a node that has ended had published last.
        return !isOver || end !== NEVER || i < latest
      })
      const accounted = session.drops + (isHere ? 0 : this.#reported(session.node, by, room, since))
      // What arrives first of a publisher says where its sequence begins. Where nothing has arrived, a call
      // says that there was something.
      const countable = missing.filter(({ order }) => order > begun)
      const isSilent = end !== NEVER && begun === NEVER && missing.length > 0 && accounted === 0
      if (countable.length <= accounted && !isSilent) continue
      const names = missing.map(({ id }) => id).join(', ')
      this.#host.fail(
        'accounts',
        `${session.name} at ${session.node} misses ${names} of ${by} in ${room} ${when}: ` +
          `${accounted} reported or dropped`,
      )
    }
  }

  #reported(at: string, by: string, place: string, since: Order): number {
    return this.#gaps.reduce((sum, gap) => {
      const counts = gap.at === at && gap.by === by && gap.place === place && gap.order > since
      return counts ? sum + gap.count : sum
    }, 0)
  }
}
