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
import { nodeOf } from './wire/connection-id.ts'
import type { NodeRequest, Selection } from './wire/request.ts'
import type { NodeResponse } from './wire/response.ts'

/**
 * The hubs of several processes, joined by a backplane. Without a backplane, the cluster is this node alone.
 *
 * Every call returns the answers that arrived, and the nodes that did not answer. It costs a request and a
 * response for each node that is asked, whereas a broadcast costs something only on the nodes that have a
 * member of the room.
 *
 * `join`, `leave`, `disconnect` and `call` never overtake messages that this node has published before. A
 * node that receives the call first waits for those messages, for half of its `callTimeoutMs` at most, and
 * then reports what is missing as a gap. A message to a room with a history is published once it is stored:
 * `join` and `leave` change the rooms of this process before that, at once, as `joinRoom` and `leaveRoom` do.
 */
export class Cluster<out Meta extends object = Metadata> {
  readonly #calls: Calls

  /** @internal */
  constructor(calls: Calls) {
    this.#calls = calls
  }

  /** The id of this node: new for each hub, and the beginning of the ids of its connections. */
  get node(): string {
    return this.#calls.node
  }

  /**
   * `connected` only while messages that this node publishes come back to it through the backplane; always
   * without a backplane. Messages that are published before the first `connected` wait for it. In any other
   * state, messages reach only the connections of this node. Useful for a readiness probe.
   */
  get state(): BackplaneState {
    return this.#calls.state
  }

  /**
   * Resolves when `state` is `connected`: messages that are published from then on reach the other nodes.
   * Messages published before the first connection wait, up to `maxEarlyBytes`.
   * @throws {HubError} WSHUB_ERR_HUB_CLOSED when the hub is closed, or is closed before that, and when the
   *   engine refuses it, for the reason in `cause`; as a rejection
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
   * @throws {HubError} WSHUB_ERR_INVALID_ROOM, WSHUB_ERR_INVALID_OPTION, WSHUB_ERR_TOO_MANY_CALLS or
   *   WSHUB_ERR_HUB_CLOSED; as a rejection, like the errors of all calls
   */
  async roomSize(room: string | readonly string[], options?: CallOptions): Promise<CountAnswer> {
    return this.#count({ op: 'size', rooms: asRooms(room) }, options)
  }

  /**
   * Lists the connections in a room, or in the union of several.
   * @throws {HubError} as for {@link Cluster.roomSize}
   */
  async members(room: string | readonly string[], options?: CallOptions): Promise<Answer<Member<Meta>>> {
    return this.#list({ op: 'members', rooms: asRooms(room) }, options)
  }

  /**
   * Lists all connections.
   * @throws {HubError} WSHUB_ERR_INVALID_OPTION, WSHUB_ERR_TOO_MANY_CALLS or WSHUB_ERR_HUB_CLOSED
   */
  async connections(options?: CallOptions): Promise<Answer<Member<Meta>>> {
    return this.#list({ op: 'connections' }, options)
  }

  /**
   * Lists the nodes, this one included.
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
   * Puts connections into a room, or into each of several. Once it has resolved, messages that are published
   * to the room reach the connections that joined.
   * @returns how many joined; each node reports the connections that its limits keep out
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
   * Removes connections from a room, or from each of several.
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
   * Closes connections, after everything that this node has sent to them.
   * @param code 1000 by default
   * @param reason at most 123 bytes of UTF-8, empty by default
   * @returns how many were open
   * @throws {HubError} WSHUB_ERR_INVALID_CLOSE, WSHUB_ERR_INVALID_SELECTOR, or as for {@link
   *   Cluster.roomSize}
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
   * Calls the handler of that name on all nodes, this one included.
   * @param payload a string or bytes; the handler receives a string or a Buffer
   * @throws {HubError} WSHUB_ERR_INVALID_HANDLER for an empty name, WSHUB_ERR_INVALID_PAYLOAD, or as for
   *   {@link Cluster.roomSize}
   */
  async call(name: string, payload: Payload = '', options: CallOptions = {}): Promise<Answer<CallResult>> {
    checkCallName(name)
    checkPayload(payload)
    const timeoutMs = this.#calls.timeoutOf(options)
    const bytes = typeof payload === 'string' ? payload : payloadBytes(payload)
    return this.#calls.askAll({ op: 'call', name, timeoutMs, payload: bytes }, options, resultOf)
  }

  /**
   * Answers the calls of that name, from any node of the cluster.
   * @returns a function that removes the handler
   * @throws {HubError} WSHUB_ERR_INVALID_HANDLER when the name is empty or already has a handler, or
   *   `handler` is not a function; WSHUB_ERR_HUB_CLOSED
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

/** Returns `undefined` when the JSON of another node is invalid. */
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
