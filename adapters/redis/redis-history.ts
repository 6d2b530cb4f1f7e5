import { createHash, randomBytes } from 'node:crypto'
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
import {
  readInteger,
  readMaxPendingBytes,
  readName,
  readTimeout,
  refuseUnknown,
} from '../backplane/backplane-options.ts'
import { inTime } from '../backplane/in-time.ts'
import { AppendBatches, type Batch } from './append-batches.ts'
import { APPEND, EPOCH_LENGTH, LATEST, READ, type Script } from './history-scripts.ts'
import { NotSent } from './not-sent.ts'
import { RedisBackplane, type RedisPlace } from './redis-backplane.ts'
import type { RedisShard } from './redis-shard.ts'
import { ScriptRunner } from './script-runner.ts'

/** Where Redis is, and how much it keeps. An explicit `undefined` means the default. */
export type RedisHistoryOptions = RedisPlace & {
  /**
   * Keeps the histories of several applications in one Redis apart: 1 to 64 characters, `A–Z a–z 0–9 _ -`
   * only. Default `wshub`.
   */
  namespace?: string | undefined
  /** Most bytes of messages that are kept of one room, 1 or more. Default 16 777 216. */
  maxBytesPerRoom?: number | undefined
  /** Most bytes that may wait for the answer of one server, 1 or more. Default 16 777 216. */
  maxPendingBytes?: number | undefined
  /** Time, in ms, after which a command that has no answer fails, 1 to 2 147 483 647. Default 5 000. */
  timeoutMs?: number | undefined
}

const OPTIONS: readonly (keyof RedisHistoryOptions)[] = [
  'url',
  'client',
  'namespace',
  'maxBytesPerRoom',
  'maxPendingBytes',
  'timeoutMs',
]
const MAX_BYTES_PER_ROOM = 16_777_216
const TIMEOUT_MS = 5_000
/** The head of a room is kept for at least a day after the room was last used. */
const MIN_HEAD_MS = 86_400_000
const TAG_LENGTH = 4
/** A longer name is replaced by its digest. */
const MAX_NAME_LENGTH = 300
const SPACE = 0x20
const EMPTY = Buffer.alloc(0)
const CLOSED = 'the history is closed'

/** A history that Redis keeps. */
export class RedisHistory implements HistoryStore {
  readonly isShared = true
  readonly #redis: RedisBackplane
  readonly #prefix: string
  readonly #maxBytesPerRoom: number
  readonly #timeoutMs: number
  /** The subscribed rooms, by channel. */
  readonly #rooms = new Map<string, string>()
  readonly #batches = new AppendBatches((channel, batch) => this.#store(channel, batch))
  /** By the connections of the shards. */
  readonly #runners = new WeakMap<object, ScriptRunner>()

  constructor(options: RedisHistoryOptions) {
    refuseUnknown(options, OPTIONS)
    const { namespace = 'wshub', maxBytesPerRoom = MAX_BYTES_PER_ROOM, timeoutMs = TIMEOUT_MS } = options
    this.#prefix = `${readName('namespace', namespace)}:h`
    this.#maxBytesPerRoom = readInteger('maxBytesPerRoom', maxBytesPerRoom)
    this.#timeoutMs = readTimeout('timeoutMs', timeoutMs)
    const maxPendingBytes = readMaxPendingBytes(options)
    this.#redis = new RedisBackplane(
      options.client === undefined
        ? { url: options.url, maxPendingBytes }
        : { client: options.client, maxPendingBytes },
    )
  }

  get state(): BackplaneState {
    return this.#redis.state
  }

  start(listener: HistoryListener): Promise<void> {
    return this.#redis.start({
      onMessage: (channel, bytes) => {
        const room = this.#rooms.get(channel)
        if (room === undefined) return
        for (const stored of readPublished(bytes)) listener.onMessage(room, stored)
      },
      onStateChange: (state) => listener.onStateChange(state),
      onError: (error) => listener.onError(error),
    })
  }

  async append(room: string, record: Uint8Array, limits: HistoryLimits): Promise<Appended> {
    if (this.state === 'closed') throw new HubError('WSHUB_ERR_NOT_STORED', CLOSED)
    if (record.length > this.#maxBytesPerRoom) {
      throw new HubError('WSHUB_ERR_NOT_STORED', `${record.length} bytes are more than maxBytesPerRoom`)
    }
    const mark = await this.#batches.append(this.#channel(room), record, limits)
    return { ...mark, previous: mark.offset - 1 }
  }

  async read(room: string, request: ReadRequest, limits: HistoryLimits): Promise<ReadResult> {
    const { after, wasDelivered = false, last = 0, maxMessages, maxBytes } = request
    const channel = this.#channel(room)
    this.#batches.flush(channel)
    const reply = await this.#run(READ, channel, 0, [
      randomName(EPOCH_LENGTH),
      `${headMs(limits)}`,
      after?.epoch ?? '',
      `${after?.offset ?? 0}`,
      after?.tag ?? '',
      `${last}`,
      `${maxMessages}`,
      `${maxBytes}`,
      `${limits.maxMessages}`,
      `${limits.maxAgeMs}`,
      wasDelivered ? '1' : '',
    ])
    if (!Array.isArray(reply)) throw unexpected(reply)
    const [epoch, offset, tag, isComplete, ...rest] = reply
    const head = { epoch: `${epoch}`, offset: Number(offset), tag: `${tag}` }
    return { head, records: readRecords(head.epoch, rest), isComplete: isComplete === 1 }
  }

  async heads(rooms: readonly string[]): Promise<readonly (Mark | undefined)[]> {
    this.#checkOpen()
    this.#batches.flushAll()
    const replies = rooms.map((room) => this.#run(LATEST, this.#channel(room), 0, [`${MIN_HEAD_MS}`]))
    return (await Promise.all(replies)).map((reply) => (reply === null ? undefined : readMark(reply)))
  }

  async subscribe(room: string): Promise<void> {
    const channel = this.#channel(room)
    this.#rooms.set(channel, room)
    await this.#redis.subscribe(channel)
  }

  unsubscribe(room: string): void {
    const channel = this.#channel(room)
    this.#rooms.delete(channel)
    this.#redis.unsubscribe(channel)
  }

  async close(): Promise<void> {
    this.#batches.flushAll()
    await this.#redis.close()
    this.#rooms.clear()
  }

  /** Stores records of a room by one script. @returns the place of the last one */
  async #store(channel: string, { records, bytes, limits }: Batch): Promise<Mark> {
    const [only = EMPTY] = records
    const args = [
      records.length === 1 ? only : Buffer.concat(records, bytes),
      records.map(({ length }) => length).join(),
      randomName(TAG_LENGTH),
      randomName(EPOCH_LENGTH),
      channel,
      this.#redis.isCluster ? 'SPUBLISH' : 'PUBLISH',
      `${limits.maxMessages + 1}`,
      `${limits.maxAgeMs}`,
      `${this.#maxBytesPerRoom}`,
      `${headMs(limits)}`,
    ]
    const reply = await this.#run(APPEND, channel, bytes, args).catch((error: Error) => {
      if (!(error instanceof NotSent || isRefusal(error))) throw error
      throw new HubError('WSHUB_ERR_NOT_STORED', error.message, { cause: error })
    })
    return readMark(reply)
  }

  /** Runs a script on the server that a channel belongs to. Rejects when there is no answer in time. */
  async #run(
    script: Script,
    channel: string,
    bytes: number,
    args: readonly (string | Buffer)[],
  ): Promise<unknown> {
    this.#checkOpen()
    const shard = this.#redis.shardOf(channel)
    if (shard === undefined) throw new NotSent('Redis is not connected')
    const keys = [`{${channel}}:head`, `{${channel}}:messages`].slice(0, script.keys)
    const reply = this.#runnerOf(shard).run(script, keys, args, bytes)
    return await inTime(this.#timeoutMs, 'Redis did not answer', reply)
  }

  #runnerOf(shard: RedisShard): ScriptRunner {
    const connection = shard.connection ?? shard
    let runner = this.#runners.get(connection)
    if (runner === undefined) {
      runner = new ScriptRunner((args, bytes) => shard.command(args, bytes))
      this.#runners.set(connection, runner)
    }
    return runner
  }

  /** Returns the channel of a room, which is also the hash tag of its keys. */
  #channel(room: string): string {
    const name = escapeName(room)
    return name === undefined || name.length > MAX_NAME_LENGTH
      ? `${this.#prefix}h:${digest(room)}`
      : `${this.#prefix}:${name}`
  }

  #checkOpen(): void {
    if (this.state === 'closed') throw new HubError('WSHUB_ERR_BACKPLANE', CLOSED)
  }
}

/** Returns a name without spaces and braces; `undefined` for a lone surrogate, which has no UTF-8. */
function escapeName(room: string): string | undefined {
  try {
    return encodeURIComponent(room)
  } catch {
    return undefined
  }
}

function digest(text: string): string {
  // Not as UTF-8, which would replace every lone surrogate by the same character.
  return createHash('sha256').update(text, 'utf16le').digest('base64url')
}

function randomName(length: number): string {
  return randomBytes((length * 3) / 4).toString('base64url')
}

/**
 * Returns for how long the head of a room is kept: it tells what a client has missed, if only that it has.
 */
function headMs({ maxAgeMs }: HistoryLimits): number {
  return Math.max(MIN_HEAD_MS, 2 * maxAgeMs)
}

/** Returns whether Redis has answered that it did not run the script, or that it stored nothing. */
function isRefusal({ message }: Error): boolean {
  // By these, a script that failed in the middle may be reported as well: by ERR since Redis 6.
  return /^(?!(ERR|NOPERM) )[A-Z]{2,} /.test(message)
}

/** Reads epoch, offset and tag, and a space behind each. */
function readMark(reply: unknown): Mark {
  const [epoch, offset, tag] = `${reply}`.split(' ')
  if (epoch === undefined || offset === undefined || tag === undefined) throw unexpected(reply)
  return { epoch, offset: Number(offset), tag }
}

/** Reads what the script has published; nothing from anything else. */
function readPublished(bytes: Buffer): StoredRecord[] {
  const words: string[] = []
  let start = 0
  for (let word = 0; word < 4; word++) {
    const end = bytes.indexOf(SPACE, start)
    if (end < 0) return []
    words.push(bytes.toString('latin1', start, end))
    start = end + 1
  }
  const [epoch = '', first, tag = '', lengths = ''] = words
  let offset = Number(first)
  const records: StoredRecord[] = []
  for (const length of lengths.split(',')) {
    const end = start + Number(length)
    if (epoch === '' || !Number.isSafeInteger(offset) || !(end <= bytes.length)) return []
    records.push({ epoch, offset, tag, previous: offset - 1, record: bytes.subarray(start, end) })
    offset++
    start = end
  }
  return records
}

/** Reads offset, tag and record of each message. */
function readRecords(epoch: string, parts: readonly unknown[]): StoredRecord[] {
  const records: StoredRecord[] = []
  for (let index = 0; index < parts.length; index += 3) {
    const [offset, tag, record] = [Number(parts[index]), `${parts[index + 1]}`, parts[index + 2]]
    if (!Buffer.isBuffer(record)) throw unexpected(parts)
    records.push({ epoch, offset, tag, previous: offset - 1, record })
  }
  return records
}

function unexpected(reply: unknown): HubError {
  return new HubError(
    'WSHUB_ERR_BACKPLANE',
    `Redis gave an unexpected answer: ${String(reply).slice(0, 100)}`,
  )
}
