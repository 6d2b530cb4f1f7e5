import type { Message, Payload } from 'wshub'
import { syncResult } from '../sync-result.ts'

/** A message of a client to a gateway. */
export interface GatewayMessage {
  /** The name that `@SubscribeMessage` has. */
  readonly event: string
  readonly data?: unknown
  /** Chosen by the client: each answer to the message carries it. */
  readonly id?: string | number | undefined
}

/** Reads the messages of clients, and writes the answers to them. */
export class MessageFormat {
  readonly #parse: (message: Message) => unknown
  readonly #format: (answer: unknown) => Payload

  constructor(
    parse: ((message: Message) => GatewayMessage | undefined) | undefined,
    format: ((answer: unknown) => Payload) | undefined,
  ) {
    this.#parse = parse ?? parseJson
    this.#format = (answer) => syncResult('the option format', (format ?? JSON.stringify)(answer))
  }

  /** Returns a message; `undefined` for anything that is none. @throws {HubError} when `parse` is async */
  read(message: Message): GatewayMessage | undefined {
    let value: unknown
    try {
      value = this.#parse(message)
    } catch {
      return undefined // the client sent something else: no error of the application
    }
    syncResult('the option parse', value)
    if (typeof value !== 'object' || value === null) return undefined
    const { event, data, id } = value as Partial<Record<keyof GatewayMessage, unknown>> // from a client
    if (typeof event !== 'string') return undefined
    return typeof id === 'string' || typeof id === 'number' ? { event, data, id } : { event, data }
  }

  /** Returns an event as it is sent. */
  write(event: string, data: unknown, id?: GatewayMessage['id']): Payload {
    return this.#format(id === undefined ? { event, data } : { event, data, id })
  }

  /** Returns what a handler answers to a message, as it is sent. */
  writeAnswer(value: unknown, { event, id }: GatewayMessage): Payload {
    if (id === undefined) return this.#format(value)
    return isResponse(value) ? this.write(value.event, value.data, id) : this.write(event, value, id)
  }
}

/** Nest's `WsResponse`: an answer that names its event. */
function isResponse(value: unknown): value is { event: string; data?: unknown } {
  return typeof value === 'object' && value !== null && 'event' in value && typeof value.event === 'string'
}

function parseJson({ data }: Message): unknown {
  return JSON.parse(data.toString())
}
