import { HubError, show } from '../base/errors.ts'
import { MAX_INT32 } from '../base/option-rules.ts'
import { runHandler } from '../base/run-handler.ts'
import { syncJson } from '../base/sync-result.ts'
import { asError, textOf } from '../base/thrown.ts'
import { afterInput } from '../base/time-limit.ts'
import { checkPayload, type Payload, payloadBytes } from '../protocol/message.ts'
import type { ResolvedClusterOptions } from './cluster-options.ts'
import type { Link } from './link.ts'
import type { LocalConnection, LocalHub } from './local-hub.ts'
import type { NodeRequest } from './wire/request.ts'
import { type MemberRecord, memberCapacity, type NodeResponse } from './wire/response.ts'

/**
 * Answers a call. The payload is a string for text and a Buffer for bytes, and so is the value that the
 * caller gets.
 */
export type CallHandler = (
  payload: string | Buffer,
  node: string,
  // biome-ignore lint/suspicious/noConfusingVoidType: a handler that returns nothing is one
) => Payload | undefined | void | Promise<Payload | undefined | void>

/** Long answers are sent in parts of about this size. */
const PART_BYTES = 65_536
/** Bytes that a part takes in addition to its members. */
const PART_OVERHEAD_BYTES = 256

/** Most characters of the reason for a failed call that are sent. */
const MAX_REASON_LENGTH = 1_000

/** Answers the requests of all nodes for this one. */
export class Responder {
  readonly #local: LocalHub
  readonly #options: ResolvedClusterOptions
  readonly #link: Pick<Link, 'listening'>
  readonly #handlers = new Map<string, CallHandler>()
  readonly #startedAt = performance.now()
  #answering = 0

  constructor(local: LocalHub, options: ResolvedClusterOptions, link: Pick<Link, 'listening'>) {
    this.#local = local
    this.#options = options
    this.#link = link
  }

  /** @see Cluster.handle */
  handle(name: string, handler: CallHandler): () => void {
    checkCallName(name)
    if (typeof handler !== 'function') {
      throw new HubError(
        'WSHUB_ERR_INVALID_HANDLER',
        `the handler of a call must be a function, not ${show(handler)}`,
      )
    }
    if (this.#handlers.has(name)) {
      throw new HubError('WSHUB_ERR_INVALID_HANDLER', `the call ${show(name)} already has a handler`)
    }
    this.#handlers.set(name, handler)
    return () => {
      if (this.#handlers.get(name) === handler) this.#handlers.delete(name)
    }
  }

  /** Answers a request of a node, which may be this one. Never rejects. */
  async answer(request: NodeRequest, node: string): Promise<readonly NodeResponse[]> {
    const takesTime = request.op === 'call' || request.op === 'join'
    if (takesTime && this.#answering >= this.#options.maxPendingCalls) {
      return [{ type: 'failed', reason: 'the node is busy with other calls' }]
    }
    if (takesTime) this.#answering++
    try {
      return await this.#do(request, node)
    } catch (cause) {
      const error = asError(cause, 'the answer to a node')
      this.#local.report(error)
      return [failed(error)]
    } finally {
      if (takesTime) this.#answering--
    }
  }

  async #do(request: NodeRequest, node: string): Promise<readonly NodeResponse[]> {
    const local = this.#local
    switch (request.op) {
      case 'size':
        return counted(local.roomSize(request.rooms))
      case 'members':
        return this.#listed(local.select({ by: 'room', names: request.rooms }))
      case 'connections':
        return this.#listed(local.select({ by: 'all', names: [] }))
      case 'node': {
        const uptimeMs = Math.round(performance.now() - this.#startedAt)
        return [{ type: 'node', ...local.size(), uptimeMs }]
      }
      case 'join': {
        const { selection, rooms } = request
        const joined = local.join(selection, rooms)
        await this.#link.listening(rooms)
        return counted(joined)
      }
      case 'leave':
        return counted(local.leave(request.selection, request.rooms))
      case 'disconnect':
        return counted(local.disconnect(request.selection, request.code, request.reason))
      case 'call':
        return [await this.#called(request.name, request.payload, request.timeoutMs, node)]
    }
  }

  #called(
    name: string,
    payload: string | Uint8Array,
    timeoutMs: number,
    node: string,
  ): Promise<NodeResponse> {
    return new Promise((resolve) => {
      const fail = (reason: string) => resolve({ type: 'failed', reason })
      const handler = this.#handlers.get(name)
      if (handler === undefined) return fail(`no handler named ${show(name)}`)
      // The caller waits no longer than this, so the handler counts as busy no longer either.
      const late = afterInput(() => fail('it took too long'))
      const timer = setTimeout(late, Math.min(timeoutMs, MAX_INT32)).unref()
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
          this.#local.report(error, where)
          resolve(failed(error))
        },
      })
    })
  }

  /** Lists connections, in parts that fit into envelopes. */
  #listed(connections: readonly LocalConnection[]): readonly NodeResponse[] {
    const mostBytes = this.#options.maxEnvelopeBytes - PART_OVERHEAD_BYTES
    const partBytes = Math.min(PART_BYTES, mostBytes)
    const parts: MemberRecord[][] = []
    let part: MemberRecord[] = []
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

  #metadata(connection: LocalConnection): string {
    const { publicMetadata } = this.#options
    if (publicMetadata.length === 0) return ''
    const entries = publicMetadata.map((key) => [key, connection.getMetadata(key)])
    let json = ''
    runHandler(
      'public metadata',
      () => {
        // A key may be `toJSON`, and return `undefined`.
        json = syncJson('public metadata', Object.fromEntries(entries)) ?? ''
      },
      { failed: (error, where) => this.#local.report(error, where) },
    )
    return json
  }
}

function failed(error: Error): NodeResponse {
  return { type: 'failed', reason: (textOf(error, 'message') ?? '').slice(0, MAX_REASON_LENGTH) }
}

function counted(count: number): readonly NodeResponse[] {
  return [{ type: 'count', count }]
}

/** @throws {HubError} WSHUB_ERR_INVALID_HANDLER */
export function checkCallName(name: unknown): void {
  if (typeof name === 'string' && name !== '') return
  throw new HubError(
    'WSHUB_ERR_INVALID_HANDLER',
    `the name of a call must be a non-empty string, not ${show(name)}`,
  )
}
