import type { HistoryLimits, Mark } from 'wshub'

/** Records of one room that are stored together. */
export interface Batch {
  readonly records: Buffer[]
  bytes: number
  limits: HistoryLimits
}

/** Stores a batch. @returns the place of its last record */
export type Store = (channel: string, batch: Batch) => Promise<Mark>

/** Redis is single-threaded: it runs a script for one batch without a break. */
const MAX_RECORDS = 64
const MAX_BYTES = 65_536

interface Open extends Batch {
  readonly stored: Promise<Mark>
  readonly resolve: (last: Promise<Mark>) => void
}

/** Collects the records that rooms get in one turn, so that one script stores those of a room. */
export class AppendBatches {
  readonly #store: Store
  readonly #open = new Map<string, Open>()
  #timer: NodeJS.Immediate | undefined

  constructor(store: Store) {
    this.#store = store
  }

  /** Adds a record. @returns its place, once it is stored */
  async append(channel: string, record: Uint8Array, limits: HistoryLimits): Promise<Mark> {
    const batch = this.#batchFor(channel, record.length, limits)
    batch.records.push(Buffer.from(record)) // the caller may write into its bytes before they are sent
    batch.bytes += record.length
    batch.limits = limits
    const index = batch.records.length - 1
    if (batch.records.length === MAX_RECORDS || batch.bytes >= MAX_BYTES) this.flush(channel)
    const last = await batch.stored
    return { ...last, offset: last.offset - (batch.records.length - 1 - index) }
  }

  /** Stores what a room got until now, before what is sent next. */
  flush(channel: string): void {
    const batch = this.#open.get(channel)
    if (batch === undefined) return
    this.#open.delete(channel)
    batch.resolve(this.#store(channel, batch))
  }

  /** The same for all rooms. */
  flushAll(): void {
    clearImmediate(this.#timer)
    this.#timer = undefined
    for (const channel of this.#open.keys()) this.flush(channel)
  }

  /** Returns a batch with room for a record, which is sent at the end of this turn. */
  #batchFor(channel: string, bytes: number, limits: HistoryLimits): Batch & Pick<Open, 'stored'> {
    const open = this.#open.get(channel)
    if (open !== undefined && open.bytes + bytes <= MAX_BYTES) return open
    this.flush(channel)
    let resolve: Open['resolve'] = () => {}
    const stored = new Promise<Mark>((settle) => {
      resolve = settle
    })
    const batch: Open = { records: [], bytes: 0, limits, stored, resolve }
    this.#open.set(channel, batch)
    this.#timer ??= setImmediate(() => this.flushAll())
    return batch
  }
}
