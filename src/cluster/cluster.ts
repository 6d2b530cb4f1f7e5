import { type InspectOptions, inspect } from 'node:util'
import type { BackplaneState } from '../backplane/backplane.ts'
import type { Metadata, MetadataOf } from '../base/metadata.ts'
import { asRooms } from '../base/room-names.ts'
import { checkClose } from '../protocol/control-frame.ts'
import { checkPayload, type Payload, payloadBytes } from '../protocol/message.ts'
import {
  type Answer,
  type CallOptions,
  type CallResult,
  type ClusterStats,
  type CountAnswer,
  type Member,
  type NodeCount,
  type NodeInfo,
  total,
} from './answer.ts'
import type { Calls } from './calls.ts'
import { type CallHandler, checkCallName } from './responder.ts'
import { readSelector, type Selector } from './selector.ts'
import { nodeOf } from './wire/envelope.ts'
import type { NodeRequest, Selection } from './wire/request.ts'
import type { NodeResponse } from './wire/response.ts'

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
  readonly #calls: Calls

  /** @internal */
  constructor(calls: Calls) {
    this.#calls = calls
  }

  /** The id of this node, new in each process; the ids of its connections begin with it. */
  get node(): string {
    return this.#calls.node
  }

  /**
   * `connected` only while what this node publishes comes back to it through the backplane, and always without a backplane;
   * until then, messages reach the connections of this node only, and those before the first `connected` wait. A readiness probe may show it.
   */
  get state(): BackplaneState {
    return this.#calls.state
  }

  /**
   * Resolves when `state` is `connected`: what is published from then on reaches the other nodes. What was published before the
   * first time has waited, up to `maxEarlyBytes`.
   * @throws {HubError} WSHUB_ERR_HUB_CLOSED when it is closed, or gets closed before; as a rejection
   */
  ready(): Promise<void> {
    return this.#calls.ready()
  }

  /** @internal */
  [inspect.custom](_depth: number, options: InspectOptions): string {
    return `Cluster ${inspect({ node: this.node, state: this.state, ...this.stats() }, options)}`
  }

  /** Counters since the hub was made. */
  stats(): ClusterStats {
    const { stats, peers, rooms } = this.#calls.link
    return { ...stats, nodes: 1 + peers.length, rooms, pendingCalls: this.#calls.size }
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
    return this.#calls.askAll({ op: 'node' }, options, (node, [response]) => {
      if (response?.type !== 'node') return undefined
      const { connections, rooms, uptimeMs } = response
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
    const timeoutMs = this.#calls.timeoutOf(options)
    const bytes = typeof payload === 'string' ? payload : payloadBytes(payload)
    return this.#calls.askAll({ op: 'call', name, timeoutMs, payload: bytes }, options, resultOf)
  }

  /**
   * Answers calls of that name that any node of the cluster makes.
   * @returns a function that takes the handler back
   * @throws {HubError} WSHUB_ERR_INVALID_HANDLER when the name is empty or has a handler already, or `handler` is no function
   */
  handle(name: string, handler: CallHandler): () => void {
    return this.#calls.handle(name, handler)
  }

  async #count(request: NodeRequest, options: CallOptions | undefined): Promise<CountAnswer> {
    return total(await this.#calls.askAll(request, options, countOf))
  }

  async #list(request: NodeRequest, options: CallOptions | undefined): Promise<Answer<Member<Meta>>> {
    return this.#calls.askAll(request, options, (_node, responses) => {
      const members: Member<Meta>[] = []
      for (const response of responses) {
        if (response.type !== 'members') return undefined
        for (const { id, metadata } of response.members) {
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
    request: (selection: Selection) => NodeRequest,
    options: CallOptions | undefined,
  ): Promise<CountAnswer> {
    const selection = readSelector(selector)
    if (selection.by !== 'id') return this.#count(request(selection), options)
    const ids = new Map<string, string[]>()
    for (const id of selection.names) {
      const node = nodeOf(id)
      if (node === undefined) continue
      const ofNode = ids.get(node)
      if (ofNode === undefined) ids.set(node, [id])
      else ofNode.push(id)
    }
    const requests = [...ids].map(([node, names]) => [node, request({ by: 'id', names })] as const)
    return total(await this.#calls.askSome(requests, options, countOf))
  }
}

function countOf(node: string, [response]: readonly NodeResponse[]): readonly NodeCount[] | undefined {
  return response?.type === 'count' ? [{ node, count: response.count }] : undefined
}

function resultOf(node: string, [response]: readonly NodeResponse[]): readonly CallResult[] | undefined {
  switch (response?.type) {
    case 'text':
      return [{ node, value: response.value, error: undefined }]
    case 'binary':
      return [{ node, value: asBuffer(response.value), error: undefined }]
    case 'nothing':
      return [{ node, value: undefined, error: undefined }]
    case 'failed':
      return [{ node, value: undefined, error: response.reason }]
    default:
      return undefined
  }
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
