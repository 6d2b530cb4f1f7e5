import type { NatsConnection } from '@nats-io/transport-node'
import { createInbox, errors, headers, type Msg, type Subscription } from '@nats-io/transport-node'
import { inTime } from '../backplane/in-time.ts'
import type { PendingRequests } from './pending-requests.ts'

/** The configuration of a stream, as far as we set it. Times are in nanoseconds. */
export interface StreamConfig {
  readonly name: string
  readonly subjects: readonly string[]
  readonly storage: 'file' | 'memory'
  readonly num_replicas: number
  readonly max_msgs_per_subject: number
  readonly max_age: number
  readonly max_bytes: number
  readonly discard: 'old'
  readonly deny_delete: true
  readonly republish: { readonly src: string; readonly dest: string }
}

/** A stream as it is. */
export interface StreamInfo {
  /** When it was created, RFC 3339. */
  readonly created: string
  readonly firstSequence: number
  readonly lastSequence: number
  readonly config: Readonly<Record<string, unknown>>
}

/** A message of a stream. */
export interface StreamMessage {
  readonly sequence: number
  readonly timeMs: number
  readonly tag: string
  readonly data: Buffer
}

/** An error that JetStream has answered with. */
export class JetStreamError extends Error {
  /** Like a status of HTTP. */
  readonly code: number

  constructor(code: number, description: string) {
    super(`JetStream answered ${code}: ${description}`)
    this.code = code
  }
}

/** The header that has the tag of a message. */
export const TAG = 'Wshub-Tag'
/** A consumer that nobody reads from is deleted after this time. */
const INACTIVE_NS = 5_000_000_000
/**
 * The server ends a request for messages after this time: it also waits for those that expired meanwhile, and
 * gives no answer otherwise.
 */
const PULL_NS = 500_000_000
/** Most messages that are asked for at once: each may be as large as a message can be. */
const BATCH = 64
/** Begins the reply subject of a message that a consumer delivers. */
const ACK = '$JS.ACK.'
const NO_MESSAGE = 404

/**
 * The requests to JetStream that a history makes.
 * @see https://docs.nats.io/reference/reference-protocols/nats_api_reference
 */
export class JetStreamApi {
  readonly #connection: NatsConnection
  readonly #stream: string
  readonly #timeoutMs: number
  readonly #pending: PendingRequests

  constructor(connection: NatsConnection, stream: string, timeoutMs: number, pending: PendingRequests) {
    this.#connection = connection
    this.#stream = stream
    this.#timeoutMs = timeoutMs
    this.#pending = pending
  }

  /** Returns the stream; `undefined` when there is none. */
  async info(): Promise<StreamInfo | undefined> {
    try {
      return readInfo(await this.#call(`STREAM.INFO.${this.#stream}`))
    } catch (error) {
      if (error instanceof JetStreamError && error.code === NO_MESSAGE) return undefined
      throw error
    }
  }

  async create(config: StreamConfig): Promise<StreamInfo> {
    const allowed = { ...config, retention: 'limits', allow_direct: true }
    return readInfo(await this.#call(`STREAM.CREATE.${this.#stream}`, allowed))
  }

  async update(config: Readonly<Record<string, unknown>>): Promise<StreamInfo> {
    return readInfo(await this.#call(`STREAM.UPDATE.${this.#stream}`, config))
  }

  /** Stores a message. @returns its sequence in the stream; `undefined` when no stream takes it */
  async publish(subject: string, data: Uint8Array, tag: string): Promise<number | undefined> {
    const header = headers()
    header.set(TAG, tag)
    try {
      return readNumber(readReply(await this.#request(subject, data, header)), 'seq')
    } catch (error) {
      const { cause } = error instanceof Error ? error : {}
      if ([error, cause].some((reason) => reason instanceof errors.NoRespondersError)) return undefined
      throw error
    }
  }

  /** Returns the latest message of a subject, or the one with a sequence; `undefined` when there is none. */
  async get(
    what: { readonly last_by_subj: string } | { readonly seq: number },
  ): Promise<(StreamMessage & { readonly subject: string }) | undefined> {
    try {
      const { message } = await this.#call(`STREAM.MSG.GET.${this.#stream}`, what)
      if (!isRecord(message)) throw unexpected(message)
      const { subject, time, hdrs, data } = message
      return {
        subject: String(subject),
        sequence: readNumber(message, 'seq'),
        timeMs: Date.parse(String(time)),
        tag: typeof hdrs === 'string' ? tagOf(Buffer.from(hdrs, 'base64').toString()) : '',
        data: typeof data === 'string' ? Buffer.from(data, 'base64') : Buffer.alloc(0),
      }
    } catch (error) {
      if (error instanceof JetStreamError && error.code === NO_MESSAGE) return undefined
      throw error
    }
  }

  /**
   * Reads messages of a subject, from a sequence on, until `take` returns false or all there are were read.
   * @param withoutData reads the headers alone
   * @returns how many there were when the read began
   */
  async read(
    subject: string,
    from: number,
    take: (message: StreamMessage) => boolean,
    withoutData = false,
  ): Promise<number> {
    const reply = await this.#call(`CONSUMER.CREATE.${this.#stream}`, {
      stream_name: this.#stream,
      config: {
        ack_policy: 'none',
        deliver_policy: 'by_start_sequence',
        opt_start_seq: Math.max(1, from),
        filter_subject: subject,
        headers_only: withoutData,
        inactive_threshold: INACTIVE_NS,
        mem_storage: true,
        num_replicas: 1,
      },
    })
    const total = readNumber(reply, 'num_pending')
    if (total === 0) return 0
    const consumer = String(reply.name)
    const batch = withoutData ? total : BATCH
    let left = total
    try {
      while (left > 0) {
        const delivered = await this.#pull(consumer, Math.min(left, batch), take)
        if (delivered === undefined || delivered === 0) break // enough; or the others have expired
        left -= delivered // fewer than asked for from a slow server
      }
    } finally {
      if (!this.#connection.isClosed()) {
        this.#connection.publish(`$JS.API.CONSUMER.DELETE.${this.#stream}.${consumer}`)
      }
    }
    return total
  }

  /** Returns how many messages were delivered; `undefined` when `take` wants no more. */
  async #pull(
    consumer: string,
    count: number,
    take: (message: StreamMessage) => boolean,
  ): Promise<number | undefined> {
    const inbox = createInbox()
    let subscription: Subscription | undefined
    const done = new Promise<number | undefined>((resolve, reject) => {
      let delivered = 0
      const callback = (error: Error | null, message: Msg) => {
        if (error !== null) return reject(error)
        if (!message.reply?.startsWith(ACK)) return resolve(delivered) // a status: no more now
        if (!take(readDelivered(message, message.reply))) resolve(undefined)
        else if (++delivered === count) resolve(delivered)
      }
      subscription = this.#connection.subscribe(inbox, { callback })
      const request = JSON.stringify({ batch: count, no_wait: true, expires: PULL_NS })
      this.#connection.publish(`$JS.API.CONSUMER.MSG.NEXT.${this.#stream}.${consumer}`, request, {
        reply: inbox,
      })
    })
    try {
      return await this.#pending.track(inTime(this.#timeoutMs, 'JetStream did not deliver', done))
    } finally {
      subscription?.unsubscribe()
    }
  }

  async #call(api: string, body?: object): Promise<Readonly<Record<string, unknown>>> {
    const data = Buffer.from(body === undefined ? '' : JSON.stringify(body))
    return readReply(await this.#request(`$JS.API.${api}`, data))
  }

  async #request(subject: string, data: Uint8Array, header?: ReturnType<typeof headers>): Promise<Msg> {
    const options = { timeout: this.#timeoutMs }
    const all = header === undefined ? options : { ...options, headers: header }
    return this.#pending.track(this.#connection.request(subject, data, all))
  }
}

function readReply(message: Msg): Readonly<Record<string, unknown>> {
  const reply: unknown = JSON.parse(Buffer.from(message.data).toString())
  if (!isRecord(reply)) throw unexpected(reply)
  const { error } = reply
  if (!isRecord(error)) return reply
  throw new JetStreamError(readNumber(error, 'code'), String(error.description))
}

function readInfo(reply: Readonly<Record<string, unknown>>): StreamInfo {
  const { created, state, config } = reply
  if (typeof created !== 'string' || !isRecord(state) || !isRecord(config)) throw unexpected(reply)
  return {
    created,
    config,
    firstSequence: readNumber(state, 'first_seq'),
    lastSequence: readNumber(state, 'last_seq'),
  }
}

/** Reads a message that a consumer delivers: its reply subject has the sequence and the time. */
function readDelivered(message: Msg, reply: string): StreamMessage {
  // $JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.<consumer sequence>.<ns>.<pending>, and since
  // nats-server 2.10 possibly the domain and the account behind `$JS.ACK`.
  const tokens = reply.split('.')
  const at = tokens.length > 9 ? 7 : 5
  return {
    sequence: Number(tokens[at]),
    timeMs: Number(tokens[at + 2]) / 1e6,
    tag: message.headers?.get(TAG) ?? '',
    data: Buffer.from(message.data.buffer, message.data.byteOffset, message.data.byteLength),
  }
}

/** Returns the tag in headers as they are on the wire. */
function tagOf(lines: string): string {
  return /^Wshub-Tag: *([A-Za-z0-9_-]{0,16})\r?$/im.exec(lines)?.[1] ?? ''
}

function readNumber(record: Readonly<Record<string, unknown>>, key: string): number {
  const value = record[key]
  if (value === undefined) return 0 // Go leaves out a zero
  if (typeof value === 'number' && Number.isSafeInteger(value)) return value
  throw unexpected(record)
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

function unexpected(reply: unknown): Error {
  return new Error(`JetStream gave an unexpected answer: ${JSON.stringify(reply)?.slice(0, 200)}`)
}
