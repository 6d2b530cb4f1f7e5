import { openEnvelope } from '../../src/cluster/wire/envelope.ts'
import { Client } from './client.ts'
import { CALM, Engine, type EngineBackplane } from './engine.ts'
import { readText, type SharedHistory } from './history-app.ts'
import { CALM_STORE, HistoryEngine } from './history-engine.ts'
import { HistoryLedger } from './history-ledger.ts'
import { Ledger } from './ledger.ts'
import { Node, type NodeSettings } from './node.ts'
import { Random } from './random.ts'
import { DIRECT, EVERYONE, type Session, surelyIn } from './records.ts'
import { VirtualClock } from './virtual-clock.ts'

/** Times of the simulated nodes, in ms. */
export const HEARTBEAT_MS = 100
export const HEARTBEAT_TIMEOUT_MS = 300
/** Time after which a node that receives nothing is no longer `connected`, plus one heartbeat. */
const NOTICE_MS = HEARTBEAT_TIMEOUT_MS + 3 * HEARTBEAT_MS

/** Longer than any simulation, in ms. */
const LONG_MS = 600_000

/** A rule that does not hold. */
export interface Violation {
  readonly rule: string
  readonly what: string
}

/** The nodes, clients and engine of a simulation, and the records of what they did. */
export class World {
  readonly random: Random
  readonly clock: VirtualClock
  readonly engine: Engine
  readonly ledger: Ledger
  /** `undefined` where no room has a history. */
  readonly history: SharedHistory | undefined
  readonly lines: string[] = []
  readonly settings: NodeSettings
  /** By place. An ended node stays until another takes its place. */
  readonly nodes: (Node | undefined)[] = []
  readonly ended: Node[] = []
  readonly clients: (Client | undefined)[] = []
  /** The calls to the cluster that have not been answered: what they wait for, and on which node. */
  readonly pendingCalls = new Set<{ readonly node: Node; readonly what: string }>()
  #count = 0
  violation: Violation | undefined

  constructor(seed: number, settings: NodeSettings) {
    this.random = new Random(seed)
    this.settings = settings
    this.clock = new VirtualClock(this.random)
    this.engine = new Engine(this.clock, this.random, (line) => this.trace(line))
    this.ledger = new Ledger(this)
    this.history = settings.history === undefined ? undefined : this.#share(settings.history)
    this.engine.onOffer = ({ owner }, channel, bytes) => {
      // The hub has used its number even if the engine does not accept it.
      if (openEnvelope(Buffer.from(bytes)).kind === 'presence')
        this.ledger.presenceSent(owner, placeOf(channel))
    }
    this.engine.onPublish = (node, channel, bytes) => this.#published(node, channel, bytes)
    this.engine.onReceive = (node, channel, bytes) => this.#heard(node, channel, bytes)
    this.engine.onSubscribe = ({ owner }, channel) =>
      this.ledger.subscribing(owner, placeOf(channel), this.clock.now)
    this.engine.onUnsubscribe = ({ owner }, channel) =>
      this.ledger.unsubscribed(owner, placeOf(channel), this.clock.now)
  }

  /** The number of messages that were published. */
  get messages(): number {
    return this.ledger.sent.size + (this.history?.ledger.size ?? 0)
  }

  /** Adds a line to the trace, which ends with a violation. */
  trace(line: string): void {
    if (this.violation === undefined) this.lines.push(`${this.clock.now} ${line}`)
  }

  /** Records a violation, unless there was one before. */
  fail(rule: string, what: string): void {
    this.trace(`VIOLATION ${rule}: ${what}`)
    this.violation ??= { rule, what }
  }

  isAlive(name: string): boolean {
    return this.nodes.some((node) => node?.name === name && node.isUp)
  }

  /** Returns a node that is up and not paused. */
  upNode(place: number): Node | undefined {
    const node = this.nodes[place % this.nodes.length]
    return node?.isUp === true && !this.clock.isPaused(node.name) ? node : undefined
  }

  /** Returns the nodes that are up. */
  upNodes(): Node[] {
    return this.nodes.filter((node): node is Node => node?.isUp === true)
  }

  nodeNamed(name: string): Node | undefined {
    return [...this.nodes, ...this.ended].find((node) => node?.name === name)
  }

  /** Returns the name of the node whose hub has this id. */
  nodeOfHub(id: string): string {
    return [...this.nodes, ...this.ended].find((node) => node?.hub.cluster.node === id)?.name ?? id
  }

  /** Starts a node in a place that is free. */
  startNode(place: number): void {
    const before = this.nodes[place]
    if (before?.isUp === true) return
    if (before !== undefined) this.ended.push(before)
    const name = `n${place}${'+'.repeat(this.ended.filter((node) => node.place === place).length)}`
    this.nodes[place] = new Node(this, name, place)
  }

  /** Connects a client to a node, in place of an earlier connection that has ended. */
  connect(place: number, node: Node): void {
    if (this.clients[place]?.isOpen === true) return
    this.clients[place] = new Client(this, `c${place}.${++this.#count}`, place, node.name, (wire) =>
      node.accept(wire),
    )
  }

  /** Returns the session of a client whose node has it open as well. */
  sessionOf(place: number): Session | undefined {
    const client = this.clients[place % this.clients.length]
    if (client?.isOpen !== true) return undefined
    const session = this.ledger.sessions.get(client.name)
    return session?.isOpen === true && this.isAlive(session.node) ? session : undefined
  }

  /** Runs a function on a node, in a turn of its own. */
  do(node: Node, act: () => void): void {
    this.clock.post(node.name, () => {
      if (node.isUp) act()
    })
  }

  /** Records a call of a node, and passes on its answer. */
  call<T>(node: Node, what: string, answer: Promise<T>, done: (answer: T) => void = () => {}): void {
    const call = { node, what }
    this.pendingCalls.add(call)
    const settled = (): void => {
      this.pendingCalls.delete(call)
    }
    answer.then(
      (value) => {
        settled()
        if (!node.isKilled) done(value)
      },
      (error: unknown) => {
        settled()
        if (node.isUp) this.fail('calls', `${what} of ${node.name} rejects: ${error}`)
      },
    )
  }

  /** Records and checks a message that a client has received. */
  received(client: Client, text: string): void {
    const { history } = this
    const { place, name } = client
    if (history === undefined || !readText(history, place, name, text)) this.ledger.received(client, text)
  }

  /** Checks the rules that hold at any time. */
  check(): void {
    this.history?.ledger.check()
    for (const node of this.upNodes()) {
      if (this.clock.isPaused(node.name)) continue
      this.#noteConfirmed(node)
      this.#checkRooms(node)
      this.#checkState(node)
    }
  }

  /** Resumes a paused node. The time in which it has to notice anything begins again. */
  resume(node: Node): void {
    if (!this.clock.isPaused(node.name)) return
    if (node.deafSince !== undefined) node.deafSince = this.clock.now
    this.clock.resume(node.name)
  }

  /** Ends all trouble: engines are restored, and paused nodes and clients resume. */
  heal(): void {
    this.engine.weather = CALM
    if (this.history !== undefined) this.history.engine.weather = CALM_STORE
    this.history?.engine.comeBack()
    for (const node of this.upNodes()) {
      this.resume(node)
      this.do(node, () => node.restore())
    }
    for (const client of this.clients) client?.resume()
  }

  #share(settings: SharedHistory['settings']): SharedHistory {
    const { tellsPrevious, maxMessages, maxAgeMs } = settings
    const engine = new HistoryEngine(this.clock, this.random, (line) => this.trace(line), tellsPrevious)
    const mostKept = maxAgeMs < LONG_MS ? 0 : maxMessages
    return { engine, settings, ledger: new HistoryLedger(this, engine, mostKept) }
  }

  #published({ owner }: EngineBackplane, channel: string, bytes: Buffer): void {
    const { kind, stamp } = openEnvelope(bytes)
    if (kind !== 'barriers') return
    const to = placeOf(channel) === DIRECT ? this.nodeOfHub(channel.slice('wshub.n.'.length)) : undefined
    this.ledger.barriersSent(`${channel} ${owner} ${stamp.sequence}`, owner, to)
  }

  #heard({ owner, confirmed }: EngineBackplane, channel: string, bytes: Buffer): void {
    const { kind, stamp } = openEnvelope(bytes)
    const by = this.nodeOfHub(stamp.node)
    if (kind === 'barriers') this.ledger.barriersReceived(`${channel} ${by} ${stamp.sequence}`, owner)
    if (by === owner || stamp.sequence === 0 || !confirmed.has(channel)) return
    this.ledger.heard(owner, by, placeOf(channel))
  }

  #noteConfirmed(node: Node): void {
    for (const session of this.ledger.sessions.values()) {
      if (!session.isOpen || session.node !== node.name) continue
      for (const membership of session.memberships) {
        const { room, sureAll, sureHere, until } = membership
        if (sureAll !== Number.POSITIVE_INFINITY || sureHere === Number.POSITIVE_INFINITY) continue
        if (until !== Number.POSITIVE_INFINITY) continue
        if ([...node.backplane.confirmed].some((channel) => placeOf(channel) === room))
          this.ledger.joinedAll(membership)
      }
    }
  }

  /** Checks that a hub knows which of its connections are in which room. */
  #checkRooms(node: Node): void {
    const expected = new Map<string, string[]>()
    const sessions = [...this.ledger.sessions.values()].filter(
      (session) => session.isOpen && session.node === node.name,
    )
    for (const session of sessions) {
      const rooms = surelyIn(session)
      if (rooms === undefined) return
      for (const room of rooms) expected.set(room, [...(expected.get(room) ?? []), session.id])
    }
    for (const room of new Set([...expected.keys(), ...node.hub.rooms()])) {
      const ids = node.hub.members(room).map(({ id }) => id)
      const wanted = expected.get(room) ?? []
      if (ids.sort().join() !== wanted.sort().join()) {
        this.fail('rooms', `${node.name} has ${ids.length} members in ${room}, not ${wanted.length}`)
      }
    }
  }

  /** Checks that a hub does not report `connected` while it is not. */
  #checkState(node: Node): void {
    const { state } = node.hub.cluster
    if (node.backplane.state === 'reconnecting' && state === 'connected') {
      this.fail('state', `${node.name} says connected while its backplane is reconnecting`)
    }
    if (node.deafSince === undefined || state !== 'connected') return
    if (this.clock.now - node.deafSince > NOTICE_MS) {
      this.fail('state', `${node.name} still says connected, and receives nothing since ${node.deafSince}`)
    }
  }
}

/** Returns the room of a channel, or the scope that is used in place of one. */
function placeOf(channel: string): string {
  const [, kind, room = ''] = channel.split('.')
  if (kind === 'r') return room
  return kind === 'a' ? EVERYONE : kind === 'n' ? DIRECT : '-'
}
