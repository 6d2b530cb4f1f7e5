import { randomBytes } from 'node:crypto'
import { ByteLog } from './byte-log.ts'
import type { HistoryLimits, Mark, ReadRequest, ReadResult, StoredRecord } from './history-store.ts'

/** Bytes of memory that a room takes in addition to its log and its name. */
const ROOM_OVERHEAD_BYTES = 512
/** The largest share of its memory that a room gives to one record, and to one segment of its log. */
const RECORD_SHARE = 1 / 2
const SEGMENT_SHARE = 1 / 8

/** The history of a room in memory. */
export class MemoryRoom {
  #epoch = newEpoch()
  readonly #ownBytes: number
  readonly #maxBytes: number
  #log: ByteLog
  #offset = 0
  /** The limits that the hubs named last. */
  #limits: HistoryLimits | undefined
  /** The offsets after which messages were lost. Messages appended later have another tag. */
  readonly #losses: number[] = []

  /** @param maxBytes most bytes of memory that it takes */
  constructor(name: string, maxBytes: number) {
    this.#ownBytes = ROOM_OVERHEAD_BYTES + name.length * 2
    this.#maxBytes = maxBytes
    this.#log = this.#newLog()
  }

  /** Returns whether a record is small enough to be kept in this many bytes. */
  static fits(recordBytes: number, maxBytes: number): boolean {
    return recordBytes <= maxBytes * RECORD_SHARE
  }

  /** Bytes of memory that it takes. */
  get bytes(): number {
    return this.#ownBytes + this.#log.bytes
  }

  get head(): Mark {
    return this.#mark(this.#offset)
  }

  append(record: Uint8Array): StoredRecord {
    const previous = this.#offset
    this.#log.push(record, performance.now())
    this.#offset++
    const [kept] = this.#log.read(this.#log.length - 1, 1, record.length)
    return { ...this.head, previous, record: kept ?? Buffer.from(record) }
  }

  /** Removes messages that are too many, too old, or take too much memory. */
  trim(limits = this.#limits): void {
    if (limits === undefined) return
    this.#limits = limits
    const { maxMessages, maxAgeMs } = limits
    const log = this.#log
    const tooOld = performance.now() - maxAgeMs
    for (let time = log.oldestTime; time !== undefined; time = log.oldestTime) {
      const isTooBig = this.bytes > this.#maxBytes && log.length > 1
      if (log.length <= maxMessages && time >= tooOld && !isTooBig) return
      log.shift()
    }
  }

  read({ after, wasDelivered = false, last, maxMessages, maxBytes }: ReadRequest): ReadResult {
    if (after !== undefined && wasDelivered && this.#hasLost(after)) this.#epoch = newEpoch()
    const { head } = this
    const isComplete = after === undefined || this.#follows(after)
    const first = this.#offset - this.#log.length + 1
    let from = this.#offset + 1
    if (after !== undefined) from = after.offset + 1
    else if (last !== undefined) from = Math.max(first, from - last)
    if (!isComplete || from > this.#offset) return { head, records: [], isComplete }
    const read = this.#log.read(from - first, maxMessages, maxBytes)
    const records = read.map((record, index) => {
      const offset = from + index
      return { ...this.#mark(offset), previous: offset - 1, record }
    })
    return { head, records, isComplete }
  }

  /** Removes the latest messages, like an engine that restarts without them. */
  loseLatest(count: number): void {
    const { length } = this.#log
    const kept = Math.max(0, length - count)
    const log = this.#newLog()
    const now = performance.now()
    for (const record of this.#log.read(0, kept, Number.POSITIVE_INFINITY)) log.push(record, now)
    this.#log = log
    this.#offset -= length - kept
    this.#losses.push(this.#offset)
  }

  /** Returns whether a message was lost, rather than removed by the limits. */
  #hasLost({ epoch, offset, tag }: Mark): boolean {
    return epoch === this.#epoch && (offset > this.#offset || (tag !== '' && tag !== this.#tagOf(offset)))
  }

  /** Returns whether every message after a mark is here. */
  #follows({ epoch, offset, tag }: Mark): boolean {
    if (epoch !== this.#epoch || offset > this.#offset) return false
    if (offset < this.#offset - this.#log.length) return false
    return tag === '' || tag === this.#mark(offset).tag
  }

  #mark(offset: number): Mark {
    return { epoch: this.#epoch, offset, tag: this.#tagOf(offset) }
  }

  /** Returns how many losses there were before the message. */
  #tagOf(offset: number): string {
    let count = 0
    for (const [index, after] of this.#losses.entries()) if (offset > after) count = index + 1
    return String(count)
  }

  #newLog(): ByteLog {
    return new ByteLog(this.#maxBytes * SEGMENT_SHARE)
  }
}

function newEpoch(): string {
  return randomBytes(9).toString('base64url')
}
