import { type InspectOptions, inspect } from 'node:util'
import type { Backplane, BackplaneState } from '../backplane/backplane.ts'
import { HubError } from '../base/errors.ts'
import { checkKeys, inRange, MAX_INT32 } from '../base/option-rules.ts'
import { asRooms } from '../base/room-names.ts'
import { runHandler } from '../base/run-handler.ts'
import type { RunningHandlers } from '../base/running-handlers.ts'
import type { Metadata, MetadataOf } from '../connection/metadata.ts'
import { checkClose } from '../protocol/control-frame.ts'
import { checkPayload, type Payload, payloadBytes } from '../protocol/message.ts'
import type { ResolvedClusterOptions } from './cluster-options.ts'
import type { Gap } from './gaps.ts'
import { Link, type LinkStats, NO_STATS } from './link.ts'
import { Calls, type Outcome } from './pending-calls.ts'
import { type CallHandler, checkCallName, Responder, type ResponderHost } from './responder.ts'
import { readSelector, type Selector } from './selector.ts'
import { type DirectBody, type MessageBody, nodeOf } from './wire/envelope.ts'
import type { Question, Selection } from './wire/request.ts'
import type { Reply } from './wire/response.ts'

/** What came of a call to the cluster: it never fails because of another node. */
export interface Answer<Result> {
  /** Of the nodes that answered in time. */
  readonly results: Result[]
  /** The nodes that did not: they may or may not have done what was asked for. */
  readonly missing: string[]
  /** How long it took, in ms. */
  readonly tookMs: number
}

/** How many connections a node counted. */
export interface NodeCount {
  readonly node: string
  readonly count: number
}

/** An {@link Answer} of counts. */
export interface CountAnswer extends Answer<NodeCount> {
  /** The sum of the results. */
  readonly count: number
}

/** A connection somewhere in the cluster. */
export interface Member<Meta extends object = Metadata> {
  readonly id: string
  /** What the option `publicMetadata` of its node makes public, as JSON carries it. */
  readonly metadata: Partial<MetadataOf<Meta>>
}

/** A node as it describes itself. */
export interface NodeInfo {
  readonly node: string
  readonly connections: number
  /** Rooms that have a member there. */
  readonly rooms: number
  /** How long its hub exists, in ms. */
  readonly uptimeMs: number
}

/** What a handler of {@link Cluster.handle} answered. */
export interface CallResult {
  readonly node: string
  /** `undefined` when it returned nothing, or failed. */
  readonly value: string | Buffer | undefined
  /** Why it failed: there is no such handler, it threw, or the node has too much to do. `undefined` when it did not. */
  readonly error: string | undefined
}

/** How to call the cluster. */
export interface CallOptions {
  /** Time, in ms, for the other nodes to answer, 1 or more. Default `callTimeoutMs` of the options. */
  timeoutMs?: number | undefined
}

const CALL_OPTIONS: Required<CallOptions> = { timeoutMs: undefined }

/** What {@link Cluster.stats} tells. */
export interface ClusterStats extends Readonly<LinkStats> {
  /** Nodes that are known to live, this one included. */
  readonly nodes: number
  /** Rooms whose messages this node listens to. */
  readonly rooms: number
  /** Calls that wait for answers. */
  readonly pendingCalls: number
}

/** What a cluster needs of its hub. @internal */
export interface ClusterHost<Meta extends object> extends ResponderHost<Meta> {
  readonly node: string
  /** `hub.close()` waits for them. */
  readonly running: RunningHandlers
  isOpen(): boolean
  /** Sends to the connections of this process only. */
  deliver(rooms: readonly string[] | undefined, message: MessageBody): void
  deliverDirect(message: DirectBody): void
  gap(gap: Gap): void
  stateChanged(state: BackplaneState): void
}

/**
 * What the hubs of several processes do together over a backplane. Without one, the cluster is this node alone.
 *
 * Every call answers with what came back and who did not answer. It costs each node that is asked a message and an answer,
 * where a broadcast costs only the nodes that have a member of the room.
 *
 * `join`, `leave`, `disconnect` and `call` never overtake what this node has published before: a node that they reach sooner
 * holds them until that has come, for half of its `callTimeoutMs` at most. What has not come by then is reported as a gap.
 */
export class Cluster<out Meta extends object = Metadata> {
  readonly #host: ClusterHost<Meta>
  readonly #options: ResolvedClusterOptions
  readonly #calls: Calls
  readonly #responder: Responder<Meta>
  /** Calls that were made before the cluster was reached, by their ids: how they are made. */
  readonly #early = new Map<number, () => void>()
  #isClosed = false
  /** What publishes and receives; `undefined` without a backplane. @internal */
  readonly link: Link | undefined

  /** @internal */
  constructor(
    host: ClusterHost<Meta>,
    options: { readonly cluster: ResolvedClusterOptions; readonly backplane: Backplane | undefined },
  ) {
    this.#host = host
    this.#options = options.cluster
    this.#calls = new Calls(options.cluster.maxPendingCalls)
    this.#responder = new Responder(host, options.cluster, (rooms) => this.link?.listening(rooms))
    if (options.backplane !== undefined) {
      this.link = new Link(options.backplane, host.node, options.cluster, {
        deliver: (rooms, message) => host.deliver(rooms, message),
        deliverDirect: (message) => host.deliverDirect(message),
        asked: (node, id, question) => void this.#asked(node, id, question),
        replied: (node, id, part, isLast, reply) => this.#calls.reply(id, node, part, isLast, reply),
        started: () => this.#callEarly(),
        gone: (node) => this.#calls.gone(node),
        gap: (gap) => this.#gap(gap),
        stateChanged: (state) => host.stateChanged(state),
        report: (error) => host.report(error),
      })
    }
  }

  /** The id of this node, new in each process; the ids of its connections begin with it. */
  get node(): string {
    return this.#host.node
  }

  /**
   * `connected` only while what this node publishes comes back to it through the backplane, and always without a backplane;
   * until then, messages reach the connections of this node only, and those before the first `connected` wait. A readiness probe may show it.
   */
  get state(): BackplaneState {
    if (this.#isClosed) return 'closed'
    return this.link?.state ?? 'connected'
  }

  /**
   * Resolves when `state` is `connected`: what is published from then on reaches the other nodes. What was published before the
   * first time has waited, up to `maxEarlyBytes`.
   * @throws {HubError} WSHUB_ERR_HUB_CLOSED when it is closed, or gets closed before; as a rejection
   */
  async ready(): Promise<void> {
    this.#checkOpen()
    await this.link?.ready()
  }

  /** @internal */
  [inspect.custom](_depth: number, options: InspectOptions): string {
    return `Cluster ${inspect({ node: this.node, state: this.state, ...this.stats() }, options)}`
  }

  /** Counters since the hub was made. */
  stats(): ClusterStats {
    return {
      ...(this.link?.stats ?? NO_STATS),
      nodes: 1 + (this.link?.peers.length ?? 0),
      rooms: this.link?.rooms ?? 0,
      pendingCalls: this.#calls.size,
    }
  }

  /**
   * Counts the connections in a room, or in the union of several.
   * @throws {HubError} WSHUB_ERR_INVALID_ROOM, WSHUB_ERR_INVALID_OPTION, WSHUB_ERR_TOO_MANY_CALLS or WSHUB_ERR_HUB_CLOSED; like
   *   those of all calls, as a rejection
   */
  async roomSize(room: string | readonly string[], options?: CallOptions): Promise<CountAnswer> {
    return this.#count({ op: 'size', rooms: asRooms(room) }, options)
  }

  /**
   * The connections in a room, or in the union of several.
   * @throws {HubError} as for {@link Cluster.roomSize}
   */
  async members(room: string | readonly string[], options?: CallOptions): Promise<Answer<Member<Meta>>> {
    return this.#list({ op: 'members', rooms: asRooms(room) }, options)
  }

  /**
   * All connections.
   * @throws {HubError} WSHUB_ERR_INVALID_OPTION, WSHUB_ERR_TOO_MANY_CALLS or WSHUB_ERR_HUB_CLOSED
   */
  async connections(options?: CallOptions): Promise<Answer<Member<Meta>>> {
    return this.#list({ op: 'connections' }, options)
  }

  /**
   * The nodes, this one included.
   * @throws {HubError} WSHUB_ERR_INVALID_OPTION, WSHUB_ERR_TOO_MANY_CALLS or WSHUB_ERR_HUB_CLOSED
   */
  async nodes(options?: CallOptions): Promise<Answer<NodeInfo>> {
    return this.#ask({ op: 'node' }, options, (node, [reply]) => {
      if (reply?.type !== 'node') return undefined
      const { connections, rooms, uptimeMs } = reply
      return [{ node, connections, rooms, uptimeMs }]
    })
  }

  /**
   * Puts connections into a room, or into each of several. When it resolves, what is published to the room from then on
   * reaches those that were counted.
   * @returns how many joined; a node reports those that its limits keep out
   * @throws {HubError} WSHUB_ERR_INVALID_SELECTOR, or as for {@link Cluster.roomSize}
   */
  async join(
    selector: Selector,
    room: string | readonly string[],
    options?: CallOptions,
  ): Promise<CountAnswer> {
    const rooms = asRooms(room)
    return this.#select(selector, (selection) => ({ op: 'join', selection, rooms }), options)
  }

  /**
   * Takes connections out of a room, or out of each of several.
   * @returns how many were in one of them
   * @throws {HubError} WSHUB_ERR_INVALID_SELECTOR, or as for {@link Cluster.roomSize}
   */
  async leave(
    selector: Selector,
    room: string | readonly string[],
    options?: CallOptions,
  ): Promise<CountAnswer> {
    const rooms = asRooms(room)
    return this.#select(selector, (selection) => ({ op: 'leave', selection, rooms }), options)
  }

  /**
   * Starts the closing handshake of connections, behind all that this node has sent to them.
   * @param code 1000 by default
   * @param reason at most 123 bytes of UTF-8, empty by default
   * @returns how many were not closing already
   * @throws {HubError} WSHUB_ERR_INVALID_CLOSE, WSHUB_ERR_INVALID_SELECTOR, or as for {@link Cluster.roomSize}
   */
  async disconnect(
    selector: Selector,
    code = 1000,
    reason = '',
    options?: CallOptions,
  ): Promise<CountAnswer> {
    checkClose(code, reason)
    return this.#select(selector, (selection) => ({ op: 'disconnect', selection, code, reason }), options)
  }

  /**
   * Calls the handlers of that name on all nodes, this one included.
   * @param payload a string or bytes, which arrive as they are
   * @throws {HubError} WSHUB_ERR_INVALID_HANDLER for an empty name, WSHUB_ERR_INVALID_PAYLOAD, or as for {@link Cluster.roomSize}
   */
  async call(name: string, payload: Payload = '', options: CallOptions = {}): Promise<Answer<CallResult>> {
    checkCallName(name)
    checkPayload(payload)
    const timeoutMs = this.#timeout(options)
    const bytes = typeof payload === 'string' ? payload : payloadBytes(payload)
    return this.#ask<CallResult>(
      { op: 'call', name, timeoutMs, payload: bytes },
      options,
      (node, [reply]) => {
        switch (reply?.type) {
          case 'text':
            return [{ node, value: reply.value, error: undefined }]
          case 'binary':
            return [{ node, value: asBuffer(reply.value), error: undefined }]
          case 'nothing':
            return [{ node, value: undefined, error: undefined }]
          case 'failed':
            return [{ node, value: undefined, error: reply.reason }]
          default:
            return undefined
        }
      },
    )
  }

  /**
   * Answers calls of that name that any node of the cluster makes.
   * @returns a function that takes the handler back
   * @throws {HubError} WSHUB_ERR_INVALID_HANDLER when the name is empty or has a handler already, or `handler` is no function
   */
  handle(name: string, handler: CallHandler): () => void {
    return this.#responder.handle(name, handler)
  }

  /** Ends the calls that wait, says goodbye to the other nodes and closes the backplane. @internal */
  async close(timeoutMs: number): Promise<void> {
    this.#isClosed = true
    this.#calls.close()
    await this.link?.close(timeoutMs)
  }

  async #count(question: Question, options: CallOptions | undefined): Promise<CountAnswer> {
    return total(await this.#ask(question, options, countOf))
  }

  async #list(question: Question, options: CallOptions | undefined): Promise<Answer<Member<Meta>>> {
    return this.#ask(question, options, (_node, replies) => {
      const members: Member<Meta>[] = []
      for (const reply of replies) {
        if (reply.type !== 'members') return undefined
        for (const { id, metadata } of reply.members) {
          const parsed = parseMetadata<Meta>(metadata)
          if (parsed === undefined) return undefined
          members.push({ id, metadata: parsed })
        }
      }
      return members
    })
  }

  async #select(
    selector: Selector,
    question: (selection: Selection) => Question,
    options: CallOptions | undefined,
  ): Promise<CountAnswer> {
    const selection = readSelector(selector)
    if (selection.by !== 'id') return this.#count(question(selection), options)
    const ids = new Map<string, string[]>()
    for (const id of selection.names) {
      const node = nodeOf(id)
      if (node === undefined) continue
      const ofNode = ids.get(node)
      if (ofNode === undefined) ids.set(node, [id])
      else ofNode.push(id)
    }
    const questions = [...ids].map(([node, names]) => [node, question({ by: 'id', names })] as const)
    return total(await this.#askSome(questions, options, countOf))
  }

  /** Asks all nodes. `read` makes results of the replies of a node; `undefined` when they make no sense. */
  async #ask<Result>(
    question: Question,
    options: CallOptions | undefined,
    read: (node: string, replies: readonly Reply[]) => readonly Result[] | undefined,
  ): Promise<Answer<Result>> {
    const { link } = this
    const peers = link?.peers ?? []
    const begun = this.#begin([this.node, ...peers], options)
    this.#whenStarted(begun, () => {
      if (link?.ask(undefined, begun.id, question) === true) return
      for (const peer of peers) this.#calls.miss(begun.id, peer)
    })
    void this.#askSelf(begun.id, question)
    return finish(begun, read)
  }

  /** Asks some nodes, each something else. */
  async #askSome<Result>(
    questions: readonly (readonly [node: string, question: Question])[],
    options: CallOptions | undefined,
    read: (node: string, replies: readonly Reply[]) => readonly Result[] | undefined,
  ): Promise<Answer<Result>> {
    const { link } = this
    const begun = this.#begin(
      questions.map(([node]) => node),
      options,
      0,
    )
    for (const [node, question] of questions) if (node === this.node) void this.#askSelf(begun.id, question)
    this.#whenStarted(begun, () => {
      for (const [node, question] of questions) {
        if (node !== this.node && link?.ask(node, begun.id, question) !== true)
          this.#calls.miss(begun.id, node)
      }
      // A node that is not known is asked too, for what it is worth, but not waited for.
      const giveUp = () => {
        for (const [node] of questions) {
          if (node !== this.node && link?.knows(node) === false) this.#calls.miss(begun.id, node)
        }
      }
      const settlingMs = link?.settlingMs ?? 0
      if (settlingMs === 0) giveUp()
      else setTimeout(giveUp, settlingMs).unref()
    })
    return finish(begun, read)
  }

  #begin(
    nodes: readonly string[],
    options: CallOptions = {},
    holdMs = this.link?.isStarting ? Number.POSITIVE_INFINITY : (this.link?.settlingMs ?? 0),
  ): { id: number; outcome: Promise<Outcome>; startedAt: number } {
    this.#checkOpen()
    const timeoutMs = this.#timeout(options)
    const startedAt = performance.now()
    return { ...this.#calls.open(nodes, timeoutMs, Math.min(holdMs, timeoutMs)), startedAt }
  }

  /** Makes a call at once, or when the cluster is reached for the first time: before, no other node is known. */
  #whenStarted(
    { id, outcome }: { readonly id: number; readonly outcome: Promise<Outcome> },
    call: () => void,
  ): void {
    if (this.link?.isStarting !== true) {
      call()
      return
    }
    this.#early.set(id, call)
    void outcome.then(() => this.#early.delete(id))
  }

  #callEarly(): void {
    for (const [id, call] of this.#early) {
      if (!this.#calls.has(id)) continue // it has ended in this turn
      call()
      this.#calls.release(id, this.link?.settlingMs ?? 0)
    }
    this.#early.clear()
  }

  #askSelf(id: number, question: Question): Promise<void> {
    return this.#answer(question, this.node, (replies) => {
      replies.forEach((reply, part) => {
        this.#calls.reply(id, this.node, part, part === replies.length - 1, reply)
      })
    })
  }

  #asked(node: string, id: number, question: Question): Promise<void> {
    return this.#answer(question, node, (replies) => this.link?.reply(node, id, replies))
  }

  async #answer(question: Question, node: string, reply: (replies: readonly Reply[]) => void): Promise<void> {
    const { running } = this.#host
    // Those that come while the hub closes could put off its end for as long as others ask.
    const isAwaited = this.#host.isOpen()
    if (isAwaited) running.begin()
    try {
      reply(await this.#responder.answer(question, node))
    } finally {
      if (isAwaited) running.end()
    }
  }

  #gap(gap: Gap): void {
    this.#host.gap(gap)
    const { onGap } = this.#options
    if (onGap !== undefined) {
      const pending = runHandler('the option onGap', () => onGap(gap), {
        failed: (error, where) => this.#host.report(error, where),
      })
      this.#host.running.watch(pending)
    }
  }

  #timeout(options: CallOptions): number {
    checkKeys(options, CALL_OPTIONS, 'an option of a call')
    const { timeoutMs = this.#options.callTimeoutMs } = options
    return inRange('timeoutMs', timeoutMs, 1, MAX_INT32)
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new HubError('WSHUB_ERR_HUB_CLOSED', 'the hub is closed')
  }
}

async function finish<Result>(
  { outcome, startedAt }: { readonly outcome: Promise<Outcome>; readonly startedAt: number },
  read: (node: string, replies: readonly Reply[]) => readonly Result[] | undefined,
): Promise<Answer<Result>> {
  const { replies, missing } = await outcome
  const results: Result[] = []
  for (const [node, parts] of replies) {
    const ofNode = read(node, parts)
    if (ofNode === undefined) missing.push(node)
    else for (const result of ofNode) results.push(result)
  }
  return { results, missing, tookMs: Math.round(performance.now() - startedAt) }
}

function countOf(node: string, [reply]: readonly Reply[]): readonly NodeCount[] | undefined {
  return reply?.type === 'count' ? [{ node, count: reply.count }] : undefined
}

function total(answer: Answer<NodeCount>): CountAnswer {
  return { ...answer, count: answer.results.reduce((sum, { count }) => sum + count, 0) }
}

/** `undefined` when another node has sent nonsense. */
function parseMetadata<Meta extends object>(json: string): Partial<MetadataOf<Meta>> | undefined {
  if (json === '') return {}
  try {
    const value: unknown = JSON.parse(json)
    // A node of the same application has written it.
    return typeof value === 'object' && value !== null ? (value as Partial<MetadataOf<Meta>>) : undefined
  } catch {
    return undefined
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes)
}
