import { HubError, show } from '../base/errors.ts'
import { MAX_INT32 } from '../base/option-rules.ts'
import { runHandler } from '../base/run-handler.ts'
import { asError, textOf } from '../base/thrown.ts'
import type { Connection } from '../connection/connection.ts'
import type { MetadataKey } from '../connection/metadata.ts'
import { checkPayload, type Payload, payloadBytes } from '../protocol/message.ts'
import type { ResolvedClusterOptions } from './cluster-options.ts'
import type { Question, Selection } from './wire/request.ts'
import { type MemberReply, memberCapacity, type Reply } from './wire/response.ts'

/** Answers a call. Text comes as a string, bytes as a Buffer; likewise back. */
export type CallHandler = (
  payload: string | Buffer,
  node: string,
  // biome-ignore lint/suspicious/noConfusingVoidType: a handler that returns nothing is one
) => Payload | undefined | void | Promise<Payload | undefined | void>

/** What a responder needs of its hub. */
export interface ResponderHost<Meta extends object> {
  /** How many connections and how many rooms there are. */
  size(): { readonly connections: number; readonly rooms: number }
  roomSize(rooms: readonly string[]): number
  getConnection(id: string): Connection<Meta> | undefined
  /** The members of the rooms, each once, or all connections; a copy. */
  connections(rooms: readonly string[] | undefined): Connection<Meta>[]
  joinRoom(connection: Connection<Meta>, rooms: readonly string[]): boolean
  leaveRoom(connection: Connection<Meta>, rooms: readonly string[]): boolean
  /** Returns how many were open. */
  disconnect(connections: readonly Connection<Meta>[], code: number, reason: string): number
  /** @param where the option or handler of the application that threw */
  report(error: Error, where?: string): void
}

/** Long replies are sent in parts of about so many bytes. */
const PART_BYTES = 65_536
/** What a part takes beside its members. */
const PART_OVERHEAD_BYTES = 256

/** Most characters of why a call failed that travel. */
const MAX_REASON = 1_000

/** Answers what nodes ask, for the connections of this one. */
export class Responder<Meta extends object> {
  readonly #host: ResponderHost<Meta>
  readonly #options: ResolvedClusterOptions
  /** Resolves when messages to these rooms come. */
  readonly #listening: (rooms: readonly string[]) => Promise<void> | undefined
  readonly #handlers = new Map<string, CallHandler>()
  readonly #startedAt = performance.now()
  #answering = 0

  constructor(
    host: ResponderHost<Meta>,
    options: ResolvedClusterOptions,
    listening: (rooms: readonly string[]) => Promise<void> | undefined,
  ) {
    this.#host = host
    this.#options = options
    this.#listening = listening
  }

  /** @see Cluster.handle */
  handle(name: string, handler: CallHandler): () => void {
    checkCallName(name)
    if (typeof handler !== 'function') {
      throw new HubError(
        'WSHUB_ERR_INVALID_HANDLER',
        `the handler of a call is a function, not ${show(handler)}`,
      )
    }
    if (this.#handlers.has(name)) {
      throw new HubError('WSHUB_ERR_INVALID_HANDLER', `the call ${show(name)} has a handler already`)
    }
    this.#handlers.set(name, handler)
    return () => {
      if (this.#handlers.get(name) === handler) this.#handlers.delete(name)
    }
  }

  /** Answers a question of a node, which may be this one. It never rejects. */
  async answer(question: Question, node: string): Promise<readonly Reply[]> {
    const takesTime = question.op === 'call' || question.op === 'join'
    if (takesTime && this.#answering >= this.#options.maxPendingCalls) {
      return [{ type: 'failed', reason: 'the node is busy with other calls' }]
    }
    if (takesTime) this.#answering++
    try {
      return await this.#do(question, node)
    } catch (cause) {
      const error = asError(cause, 'the answer to a node')
      this.#host.report(error)
      return [failed(error)]
    } finally {
      if (takesTime) this.#answering--
    }
  }

  async #do(question: Question, node: string): Promise<readonly Reply[]> {
    const host = this.#host
    switch (question.op) {
      case 'size':
        return [{ type: 'count', count: host.roomSize(question.rooms) }]
      case 'members':
        return this.#listed(host.connections(question.rooms))
      case 'connections':
        return this.#listed(host.connections(undefined))
      case 'node': {
        const uptimeMs = Math.round(performance.now() - this.#startedAt)
        return [{ type: 'node', ...host.size(), uptimeMs }]
      }
      case 'join': {
        const { selection, rooms } = question
        const joined = this.#join(this.#selected(selection), rooms)
        await this.#listening(rooms)
        return counted(joined)
      }
      case 'leave': {
        const { selection, rooms } = question
        return counted(this.#selected(selection).filter((each) => host.leaveRoom(each, rooms)).length)
      }
      case 'disconnect': {
        const { selection, code, reason } = question
        return counted(host.disconnect(this.#selected(selection), code, reason))
      }
      case 'call':
        return [await this.#called(question.name, question.payload, question.timeoutMs, node)]
    }
  }

  #selected({ by, names }: Selection): Connection<Meta>[] {
    if (by === 'all') return this.#host.connections(undefined)
    if (by === 'room') return this.#host.connections(names)
    return [...new Set(names)].flatMap((id) => this.#host.getConnection(id) ?? [])
  }

  /** Those that a limit of this node keeps out are not counted, and reported in one: there may be thousands. */
  #join(connections: readonly Connection<Meta>[], rooms: readonly string[]): number {
    let joined = 0
    let kept = 0
    let last: HubError | undefined
    for (const connection of connections) {
      try {
        if (this.#host.joinRoom(connection, rooms)) joined++
      } catch (error) {
        if (!(error instanceof HubError)) throw error
        last = error
        kept++
      }
    }
    if (last !== undefined) {
      const message = `${kept} of ${connections.length} connections did not join: ${last.message}`
      this.#host.report(new HubError(last.code, message, { cause: last }))
    }
    return joined
  }

  #called(name: string, payload: string | Uint8Array, timeoutMs: number, node: string): Promise<Reply> {
    return new Promise((resolve) => {
      const fail = (reason: string) => resolve({ type: 'failed', reason })
      const handler = this.#handlers.get(name)
      if (handler === undefined) return fail(`no handler of ${show(name)}`)
      // Nobody waits for the answer any longer than this; what is busy for nobody is not counted as busy.
      const timer = setTimeout(() => fail('it took too long'), Math.min(timeoutMs, MAX_INT32)).unref()
      const call = async () => {
        const value = await handler(typeof payload === 'string' ? payload : Buffer.from(payload), node)
        clearTimeout(timer)
        if (value === undefined) return resolve({ type: 'nothing' })
        checkPayload(value)
        if (typeof value === 'string') resolve({ type: 'text', value })
        else resolve({ type: 'binary', value: Buffer.from(payloadBytes(value)) })
      }
      runHandler(`the handler of the call ${show(name)}`, call, {
        failed: (error, where) => {
          clearTimeout(timer)
          this.#host.report(error, where)
          resolve(failed(error))
        },
      })
    })
  }

  /** In parts that fit into envelopes. */
  #listed(connections: readonly Connection<Meta>[]): readonly Reply[] {
    const mostBytes = this.#options.maxEnvelopeBytes - PART_OVERHEAD_BYTES
    const partBytes = Math.min(PART_BYTES, mostBytes)
    const parts: MemberReply[][] = []
    let part: MemberReply[] = []
    let bytes = 0
    for (const connection of connections) {
      const full = { id: connection.id, metadata: this.#metadata(connection) }
      const member = memberCapacity(full) <= mostBytes ? full : { ...full, metadata: '' }
      if (part.length > 0 && bytes + memberCapacity(member) > partBytes) {
        parts.push(part)
        part = []
        bytes = 0
      }
      part.push(member)
      bytes += memberCapacity(member)
    }
    return [...parts, part].map((members) => ({ type: 'members', members }))
  }

  #metadata(connection: Connection<Meta>): string {
    const { publicMetadata } = this.#options
    if (publicMetadata.length === 0) return ''
    // The option is written without the application's Meta; a key that Meta does not have is not in the map.
    const entries = publicMetadata.map((key) => [key, connection.getMetadata(key as MetadataKey<Meta>)])
    let json = ''
    runHandler(
      'public metadata',
      () => {
        // Calls a toJSON of the application; one of the metadata itself may return nothing.
        json = JSON.stringify(Object.fromEntries(entries)) ?? ''
      },
      { failed: (error, where) => this.#host.report(error, where) },
    )
    return json
  }
}

function failed(error: Error): Reply {
  return { type: 'failed', reason: (textOf(error, 'message') ?? '').slice(0, MAX_REASON) }
}

function counted(count: number): readonly Reply[] {
  return [{ type: 'count', count }]
}

/** @throws {HubError} WSHUB_ERR_INVALID_HANDLER */
export function checkCallName(name: unknown): void {
  if (typeof name === 'string' && name !== '') return
  throw new HubError(
    'WSHUB_ERR_INVALID_HANDLER',
    `the name of a call is a string that is not empty, not ${show(name)}`,
  )
}
