import { createHash, randomBytes } from 'node:crypto'
import type { NatsConnection } from '@nats-io/transport-node'
import {
  type Appended,
  type BackplaneState,
  type HistoryLimits,
  type HistoryListener,
  type HistoryStore,
  HubError,
  type Mark,
  type ReadRequest,
  type ReadResult,
  type StoredRecord,
} from 'wshub'
import { closeMs } from '../backplane/close-time.ts'
import { inTime } from '../backplane/in-time.ts'
import {
  JetStreamApi,
  JetStreamError,
  type StreamConfig,
  type StreamInfo,
  type StreamMessage,
} from './jetstream-api.ts'
import { type JetStreamHistoryOptions, readJetStreamOptions } from './jetstream-options.ts'
import { NatsBackplane } from './nats-backplane.ts'
import { PendingRequests } from './pending-requests.ts'
import { packRepublished, unpackRepublished } from './republished.ts'
import { tokenOf } from './room-token.ts'
import { SeenHeads } from './seen-heads.ts'

const MESSAGE_OVERHEAD_BYTES = 256
const TAG_BYTES = 3
const EPOCH_LENGTH = 12
const NOT_CONNECTED = 'NATS is not connected'
const DELETED = 'the stream has no leader at this moment, or was deleted'

/** A history that a stream of JetStream keeps. The offset of a message is its sequence in the stream. */
export class JetStreamHistory implements HistoryStore {
  readonly isShared = true
  readonly #nats: NatsBackplane
  readonly #config: StreamConfig
  readonly #timeoutMs: number
  readonly #maxPendingBytes: number
  readonly #rooms = new Map<string, string>()
  readonly #heads = new SeenHeads()
  readonly #pending = new PendingRequests()
  #pendingBytes = 0
  /** Settles when the stream was found, or created again. */
  #preparing: Promise<void> | undefined
  /** The life of the stream that was last seen, and the highest sequence in it. */
  #epoch = ''
  #lastSequence = 0

  constructor(options: JetStreamHistoryOptions) {
    const { config, timeoutMs, maxPendingBytes, place } = readJetStreamOptions(options)
    this.#config = config
    this.#timeoutMs = timeoutMs
    this.#maxPendingBytes = maxPendingBytes
    this.#nats = new NatsBackplane(place, {
      read: packRepublished,
      prepare: (connection) => this.#prepare(connection),
    })
  }

  get state(): BackplaneState {
    return this.#nats.state
  }

  start(listener: HistoryListener): Promise<void> {
    return this.#nats.start({
      onMessage: (channel, bytes) => {
        const room = this.#rooms.get(channel)
        if (room === undefined) return
        const stored = this.#received(bytes)
        this.#saw(room, stored)
        listener.onMessage(room, stored)
      },
      onStateChange: (state) => {
        if (state === 'reconnecting') this.#pending.fail(new HubError('WSHUB_ERR_BACKPLANE', 'NATS is away'))
        listener.onStateChange(state)
      },
      onError: (error) => listener.onError(error),
    })
  }

  async append(room: string, record: Uint8Array, _limits: HistoryLimits): Promise<Appended> {
    const { connection } = this.#nats
    if (connection === undefined) throw notStored(NOT_CONNECTED)
    const api = this.#apiOf(connection)
    const size = record.length + MESSAGE_OVERHEAD_BYTES
    if (this.#pendingBytes + size > this.#maxPendingBytes) {
      throw notStored(`more than ${this.#maxPendingBytes} bytes wait for JetStream`)
    }
    this.#pendingBytes += size
    try {
      const tag = randomBytes(TAG_BYTES).toString('base64url')
      const before = this.#lastSequence
      const offset = await this.#publish(api, this.#subject(room), record, tag)
      // Sequences that begin anew are those of another stream of the same name.
      if (offset <= before && (await this.#refresh(api)) === undefined) throw noStream()
      this.#lastSequence = Math.max(this.#lastSequence, offset)
      this.#saw(room, { epoch: this.#epoch, offset, tag })
      return { epoch: this.#epoch, offset, tag }
    } finally {
      this.#pendingBytes -= size
    }
  }

  async read(room: string, request: ReadRequest, limits: HistoryLimits): Promise<ReadResult> {
    const api = this.#api()
    const subject = this.#subject(room)
    const { after } = request
    let info = await this.#refresh(api)
    if (info === undefined) {
      await this.#prepareAgain()
      info = await this.#refresh(api)
    }
    if (info === undefined) throw noStream()
    // Afterwards: the first message of the room may be stored meanwhile, and has a higher sequence then.
    const latest = await api.get({ last_by_subj: subject })
    const head = {
      epoch: this.#epoch,
      offset: latest?.sequence ?? info.lastSequence,
      tag: latest?.tag ?? '',
    }
    if (latest !== undefined || this.#heads.of(room, head.epoch) === undefined) {
      this.#saw(room, head, info.lastSequence)
    }
    if (after !== undefined) return this.#readAfter(api, room, head, { ...request, after }, limits)
    const { last = 0 } = request
    if (last === 0 || latest === undefined) return { head, records: [], isComplete: true }
    const from = await this.#startOfLatest(api, subject, Math.min(last, limits.maxMessages))
    const found = await collect(api, subject, from, request, limits)
    return { head, records: this.#records(found.messages, undefined), isComplete: true }
  }

  async heads(rooms: readonly string[]): Promise<readonly (Mark | undefined)[]> {
    const api = this.#api()
    const [epoch, upTo] = [this.#epoch, this.#lastSequence]
    const latest = await Promise.all(rooms.map((room) => api.get({ last_by_subj: this.#subject(room) })))
    const info = await this.#refresh(api)
    return latest.map((message, index) => {
      const room = rooms[index] ?? ''
      if (message !== undefined) {
        const mark = { epoch: this.#epoch, offset: message.sequence, tag: message.tag }
        if (epoch === this.#epoch) this.#saw(room, mark, upTo)
        return mark
      }
      // Its latest message has expired, and there is no newer one.
      if (info !== undefined) this.#heads.sawNone(room, epoch, upTo, info.firstSequence)
      return this.#heads.of(room, this.#epoch)
    })
  }

  async subscribe(room: string): Promise<void> {
    const channel = this.#channel(room)
    this.#rooms.set(channel, room)
    await this.#nats.subscribe(channel)
  }

  unsubscribe(room: string): void {
    const channel = this.#channel(room)
    this.#rooms.delete(channel)
    this.#heads.delete(room)
    this.#nats.unsubscribe(channel)
  }

  async close(): Promise<void> {
    // The server answers a flush before JetStream has stored what was sent.
    await inTime(closeMs(), 'JetStream did not answer', this.#pending.settled()).catch(() => {})
    await this.#nats.close()
    this.#rooms.clear()
    this.#heads.clear()
  }

  async #readAfter(
    api: JetStreamApi,
    room: string,
    head: Mark,
    request: ReadRequest & { readonly after: Mark },
    limits: HistoryLimits,
  ): Promise<ReadResult> {
    const { after } = request
    const subject = this.#subject(room)
    const incomplete = { head, records: [], isComplete: false }
    if (after.epoch !== head.epoch) return incomplete
    const isHead = after.offset === head.offset
    if (isHead && after.tag !== '' && after.tag !== head.tag) return incomplete
    const found = isHead ? NOTHING : await collect(api, subject, after.offset + 1, request, limits)
    // What is kept now was kept when it was read: messages are removed from the oldest on.
    const [info, message] = await Promise.all([this.#refresh(api), api.get({ seq: after.offset || 1 })])
    if (info === undefined || this.#epoch !== head.epoch || after.offset > info.lastSequence)
      return incomplete
    const isKept = message?.subject === subject && message.sequence === after.offset
    const isFull = found.total >= Math.min(this.#config.max_msgs_per_subject, limits.maxMessages + 1)
    // Without its message: nothing younger was removed, by age or bytes of the stream, or as one too many.
    const isProven = isKept
      ? after.tag === '' || after.tag === message.tag
      : isHead ||
        (!isFull &&
          ((after.tag === '' && info.firstSequence <= after.offset + 1) ||
            this.#heads.isLatest(room, after, info.firstSequence)))
    if (!isProven || found.isTooOld || found.total > limits.maxMessages) return incomplete
    if (found.total > 0 && found.messages.length === 0) throw new Error('JetStream did not deliver in time')
    return { head, records: this.#records(found.messages, after.offset), isComplete: true }
  }

  #saw(room: string, mark: Mark, upTo?: number): void {
    if (this.#rooms.has(this.#channel(room))) this.#heads.saw(room, mark, upTo)
  }

  /** Returns the sequence of the first of the latest messages of a subject. */
  async #startOfLatest(api: JetStreamApi, subject: string, count: number): Promise<number> {
    const sequences: number[] = []
    await api.read(subject, 1, ({ sequence }) => sequences.push(sequence) > 0, true)
    return sequences.at(-count) ?? 1
  }

  #records(messages: readonly StreamMessage[], before: number | undefined): StoredRecord[] {
    let previous = before
    return messages.map(({ sequence: offset, tag, data: record }) => {
      const stored = { epoch: this.#epoch, offset, tag, previous: previous ?? offset - 1, record }
      previous = offset
      return stored
    })
  }

  #received(bytes: Buffer): StoredRecord {
    const stored = { epoch: this.#epoch, ...unpackRepublished(bytes) }
    this.#lastSequence = Math.max(this.#lastSequence, stored.offset)
    return stored
  }

  /** Stores a message. @returns its sequence */
  async #publish(api: JetStreamApi, subject: string, record: Uint8Array, tag: string): Promise<number> {
    try {
      const first = await api.publish(subject, record, tag)
      if (first !== undefined) return first
      await this.#prepareAgain()
      const second = await api.publish(subject, record, tag)
      if (second !== undefined) return second
    } catch (error) {
      if (error instanceof JetStreamError) throw notStored(error.message, error)
      throw error
    }
    throw notStored(DELETED)
  }

  /** Creates the stream again when it was deleted, once for all who need it. */
  #prepareAgain(): Promise<void> {
    const { connection } = this.#nats
    if (connection === undefined) return Promise.reject(notConnected())
    this.#preparing ??= this.#prepare(connection).finally(() => {
      this.#preparing = undefined
    })
    return this.#preparing
  }

  /** Finds the stream, or creates it, or changes its limits to ours. */
  async #prepare(connection: NatsConnection): Promise<void> {
    const api = this.#apiOf(connection)
    const info = (await api.info()) ?? (await api.create(this.#config))
    const ours = { ...info.config, ...this.#config }
    const isOurs = Object.entries(this.#config).every(([key, value]) => {
      return JSON.stringify(info.config[key]) === JSON.stringify(value)
    })
    this.#seen(isOurs ? info : await api.update(ours))
  }

  async #refresh(api: JetStreamApi): Promise<StreamInfo | undefined> {
    const info = await api.info()
    if (info !== undefined) this.#seen(info)
    return info
  }

  #seen({ created, lastSequence }: StreamInfo): void {
    const epoch = createHash('sha256').update(created).digest('base64url').slice(0, EPOCH_LENGTH)
    this.#lastSequence = epoch === this.#epoch ? Math.max(this.#lastSequence, lastSequence) : lastSequence
    this.#epoch = epoch
  }

  #api(): JetStreamApi {
    const { connection } = this.#nats
    if (connection === undefined) throw notConnected()
    return this.#apiOf(connection)
  }

  #apiOf(connection: NatsConnection): JetStreamApi {
    return new JetStreamApi(connection, this.#config.name, this.#timeoutMs, this.#pending)
  }

  #subject(room: string): string {
    return `${this.#config.name}.h.${tokenOf(room)}`
  }

  #channel(room: string): string {
    return `${this.#config.name}.f.${tokenOf(room)}`
  }
}

interface Found {
  readonly messages: readonly StreamMessage[]
  /** How many messages there were from the start on. */
  readonly total: number
  /** Whether the first one is older than the room keeps. */
  readonly isTooOld: boolean
}

const NOTHING: Found = { messages: [], total: 0, isTooOld: false }

/** Reads a page of messages that are not too old. */
async function collect(
  api: JetStreamApi,
  subject: string,
  from: number,
  { maxMessages, maxBytes }: ReadRequest,
  { maxAgeMs }: HistoryLimits,
): Promise<Found> {
  const messages: StreamMessage[] = []
  const since = Date.now() - maxAgeMs
  let bytes = 0
  let isTooOld = false
  const total = await api.read(subject, from, (message) => {
    if (message.timeMs < since && messages.length === 0) {
      isTooOld = true
      return true
    }
    bytes += message.data.length
    if (messages.length > 0 && (bytes > maxBytes || messages.length === maxMessages)) return false
    messages.push(message)
    return messages.length < maxMessages
  })
  return { messages, total, isTooOld }
}

function notStored(why: string, cause?: unknown): HubError {
  return new HubError('WSHUB_ERR_NOT_STORED', why, { cause })
}

function notConnected(): HubError {
  return new HubError('WSHUB_ERR_BACKPLANE', NOT_CONNECTED)
}

function noStream(): HubError {
  return new HubError('WSHUB_ERR_BACKPLANE', DELETED)
}
