import type { Backplane, BackplaneState } from '../backplane/backplane.ts'
import { HubError } from '../base/errors.ts'
import { checkKeys, inRange, orDefault } from '../base/option-rules.ts'
import type { Answer, CallOptions } from './answer.ts'
import { BackplaneLink } from './backplane-link.ts'
import type { ResolvedClusterOptions } from './cluster-options.ts'
import type { Link, LinkListener } from './link.ts'
import type { LocalHub } from './local-hub.ts'
import { type Outcome, PendingCalls } from './pending-calls.ts'
import { type CallHandler, Responder } from './responder.ts'
import { SoloLink } from './solo-link.ts'
import { isRead, type NodeRequest } from './wire/request.ts'
import type { NodeResponse } from './wire/response.ts'

/** Makes results of a node's responses; returns `undefined` when they make no sense. */
export type ReadReplies<Result> = (
  node: string,
  responses: readonly NodeResponse[],
) => readonly Result[] | undefined

const CALL_OPTIONS: Required<CallOptions> = { timeoutMs: undefined }

interface OpenCall {
  readonly id: number
  readonly outcome: Promise<Outcome>
  readonly startedAt: number
}

/** Calls the nodes of a cluster, this one included, collects their answers, and answers their calls. */
export class Calls implements LinkListener {
  readonly #local: LocalHub
  readonly #options: ResolvedClusterOptions
  readonly #pending: PendingCalls
  readonly #responder: Responder
  /** Calls made before the cluster was reached for the first time: how to make them, by their ids. */
  readonly #early = new Map<number, () => void>()
  /** How many calls are to be made when what was published before them is stored. */
  #waiting = 0
  #isClosed = false
  readonly link: Link

  constructor(
    local: LocalHub,
    options: { readonly cluster: ResolvedClusterOptions; readonly backplane: Backplane | undefined },
  ) {
    const { cluster, backplane } = options
    this.#local = local
    this.#options = cluster
    this.#pending = new PendingCalls(cluster.maxPendingCalls)
    this.link = backplane === undefined ? new SoloLink() : new BackplaneLink(backplane, local, cluster, this)
    this.#responder = new Responder(local, cluster, this.link)
  }

  /** The id of this node. */
  get node(): string {
    return this.#local.node
  }

  get state(): BackplaneState {
    return this.#isClosed ? 'closed' : this.link.state
  }

  /** How many calls wait for answers. */
  get size(): number {
    return this.#pending.size
  }

  /** Resolves when connected. @throws {HubError} WSHUB_ERR_HUB_CLOSED, as a rejection */
  async ready(): Promise<void> {
    this.#checkOpen()
    await this.link.ready()
  }

  /** @see Cluster.handle */
  handle(name: string, handler: CallHandler): () => void {
    this.#checkOpen()
    return this.#responder.handle(name, handler)
  }

  /** Returns the time for the other nodes to answer a call. @throws {HubError} WSHUB_ERR_INVALID_OPTION */
  timeoutOf(options: CallOptions = {}): number {
    checkKeys(options, CALL_OPTIONS, 'an option of a call')
    return inRange('timeoutMs', orDefault(options.timeoutMs, this.#options.callTimeoutMs), 1)
  }

  /** Asks all nodes the same. */
  async askAll<Result>(
    request: NodeRequest,
    options: CallOptions | undefined,
    read: ReadReplies<Result>,
  ): Promise<Answer<Result>> {
    const { link } = this
    const holdMs = link.isStarting ? Number.POSITIVE_INFINITY : link.settlingMs
    const call = this.#open([this.node, ...link.peers], options, holdMs)
    const make = () => {
      const { peers } = link // a call that waited for the cluster was opened before any was known
      if (link.ask(undefined, call.id, request)) {
        this.#pending.reached(call.id, peers)
        return
      }
      this.#pending.notAsked(call.id, peers)
      if (peers.length === 0) link.reportUnasked() // nobody is missing, so the answer would look complete
    }
    this.#inOrder(
      request.op,
      () => void this.#askSelf(call.id, request),
      () => this.#whenStarted(call, make, () => link.reportUnasked()),
    )
    return answer(call, read)
  }

  /** Asks some nodes, each something else. */
  async askSome<Result>(
    requests: readonly (readonly [node: string, request: NodeRequest])[],
    options: CallOptions | undefined,
    read: ReadReplies<Result>,
  ): Promise<Answer<Result>> {
    const { link } = this
    const asked = requests.map(([node]) => node)
    const call = this.#open(asked, options, 0)
    const others = requests.filter(([node]) => node !== this.node)
    const make = () => {
      for (const [node, request] of others) {
        if (!link.ask(node, call.id, request)) this.#pending.miss(call.id, node)
      }
      // A node that is not known was asked too, since it may be alive, but the call does not wait for it.
      const missUnknown = () => {
        for (const [node] of others) if (!link.knows(node)) this.#pending.miss(call.id, node)
      }
      const { settlingMs } = link
      if (settlingMs === 0) missUnknown()
      else this.#pending.later(call.id, settlingMs, missUnknown)
    }
    const askSelf = () => {
      for (const [node, request] of requests) if (node === this.node) void this.#askSelf(call.id, request)
    }
    this.#inOrder(requests[0]?.[1].op, askSelf, () => this.#whenStarted(call, make))
    return answer(call, read)
  }

  /** Ends the calls that wait, and leaves the cluster. */
  async close(timeoutMs: number): Promise<void> {
    this.#isClosed = true
    this.#pending.close()
    await this.link.close(timeoutMs)
  }

  asked(node: string, id: number, request: NodeRequest): void {
    void this.#answer(request, node, (responses) => this.link.respond(node, id, responses))
  }

  responded(node: string, id: number, part: number, isLast: boolean, response: NodeResponse): void {
    this.#pending.respond(id, node, part, isLast, response)
  }

  started(): void {
    for (const [id, call] of this.#early) {
      if (!this.#pending.has(id)) continue // it has ended in this turn
      this.#early.delete(id)
      call()
      this.#pending.release(id, this.link.settlingMs)
    }
  }

  nodeFound(node: string): void {
    this.#pending.found(node)
  }

  nodeGone(node: string): void {
    this.#pending.gone(node)
  }

  /**
   * Makes a call that changes something behind the messages that wait for the store of histories. The rooms
   * of this process change at once, as with `joinRoom` and `leaveRoom`, or those would overtake it.
   */
  #inOrder(op: NodeRequest['op'] | undefined, askSelf: () => void, askOthers: () => void): void {
    const changesRooms = op === 'join' || op === 'leave'
    if (changesRooms) askSelf()
    const make = () => {
      if (!changesRooms) askSelf()
      askOthers()
    }
    const stored = op === undefined || isRead(op) ? undefined : this.#stored
    if (stored === undefined) {
      make()
      return
    }
    this.#waiting++
    void stored.then(() => {
      this.#waiting--
      make()
    })
  }

  /** Resolves when nothing waits for the store, and earlier calls that waited for it are made. */
  get #stored(): Promise<void> | undefined {
    return this.#local.stored ?? (this.#waiting > 0 ? Promise.resolve() : undefined)
  }

  #open(nodes: readonly string[], options: CallOptions | undefined, holdMs: number): OpenCall {
    this.#checkOpen()
    const timeoutMs = this.timeoutOf(options)
    const startedAt = performance.now()
    return { ...this.#pending.open(nodes, timeoutMs, Math.min(holdMs, timeoutMs)), startedAt }
  }

  /**
   * Makes a call at once, or when the cluster is reached for the first time: before that, no other node is
   * known.
   */
  #whenStarted({ id, outcome }: OpenCall, call: () => void, onNeverStarted = () => {}): void {
    if (!this.link.isStarting) {
      call()
      return
    }
    this.#early.set(id, call)
    void outcome.then(() => {
      if (this.#early.delete(id)) onNeverStarted()
    })
  }

  #askSelf(id: number, request: NodeRequest): Promise<void> {
    return this.#answer(request, this.node, (responses) => {
      responses.forEach((response, part) => {
        this.#pending.respond(id, this.node, part, part === responses.length - 1, response)
      })
    })
  }

  async #answer(
    request: NodeRequest,
    node: string,
    response: (responses: readonly NodeResponse[]) => void,
  ): Promise<void> {
    const { running, isOpen } = this.#local
    // Requests that arrive while the hub closes could delay its end for as long as others keep asking.
    if (isOpen) running.begin()
    try {
      response(await this.#responder.answer(request, node))
    } finally {
      if (isOpen) running.end()
    }
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new HubError('WSHUB_ERR_HUB_CLOSED', 'the hub is closed')
  }
}

async function answer<Result>(
  { outcome, startedAt }: OpenCall,
  read: ReadReplies<Result>,
): Promise<Answer<Result>> {
  const { responses, missing } = await outcome
  const results: Result[] = []
  for (const [node, parts] of responses) {
    const ofNode = read(node, parts)
    if (ofNode === undefined) missing.push(node)
    else for (const result of ofNode) results.push(result)
  }
  return { results, missing, tookMs: Math.round(performance.now() - startedAt) }
}
