import type { BackplaneState } from '../backplane/backplane.ts'

/** The place of a message in the history of its room. */
export interface Mark {
  /**
   * Identifies one unbroken history; another epoch begins when the store has lost or evicted the room. 1 to
   * 32 characters, `A–Z a–z 0–9 _ -` only.
   */
  readonly epoch: string
  /**
   * The number of the message, a safe integer: higher than those of all earlier messages of its room and
   * epoch. Numbers may be left out. In a room without a message, lower than that of the first one.
   */
  readonly offset: number
  /**
   * Distinguishes the message from another one that got its number after the store had lost its latest
   * writes. 0 to 16 characters, `A–Z a–z 0–9 _ -` only; empty = not known, or the store does not lose writes
   * within an epoch.
   */
  readonly tag: string
}

/** A message as a store keeps it. */
export interface StoredRecord extends Mark {
  /**
   * The offset of the message before it in the room: whoever has received that one has missed nothing. In an
   * epoch without earlier messages, at most the offset of the room at that time.
   */
  readonly previous: number
  /** The bytes passed to `append`. The receiver may keep them, and must not write into them. */
  readonly record: Buffer
}

/** The place of a message that was just stored. */
export interface Appended extends Mark {
  /** As in {@link StoredRecord}; `undefined` where only the feed tells it, which is slower. */
  readonly previous?: number | undefined
}

/** How much history a room has. */
export interface HistoryLimits {
  /** Most messages kept, 1 or more. */
  readonly maxMessages: number
  /** Time, in ms, for which a message is kept, 1 or more. */
  readonly maxAgeMs: number
}

/** Selects messages of a room to read. */
export interface ReadRequest {
  /** The messages after this one. Without it, and without `last`, only the head is asked for. */
  readonly after?: Mark | undefined
  /**
   * Whether a hub has delivered `after`. If the store has lost that message within its epoch, rather than
   * removed it by the limits, the room begins another epoch with the messages that it has. Otherwise, clients
   * whose position precedes the lost messages would not learn of the loss.
   */
  readonly wasDelivered?: boolean | undefined
  /** The number of latest messages, 1 or more, if there is no `after`. */
  readonly last?: number | undefined
  /** Most messages, and most bytes of records, that one read returns; at least one message. */
  readonly maxMessages: number
  readonly maxBytes: number
}

/** The messages that a read found. */
export interface ReadResult {
  /**
   * The latest message of the room at that moment. A room without one has an epoch and an offset all the
   * same, so that a client can come back before the first message.
   */
  readonly head: Mark
  /**
   * The messages in order, oldest first, without a gap (see `previous`), and no more than the request allows:
   * the next read continues after the last one.
   */
  readonly records: readonly StoredRecord[]
  /**
   * Whether no message after `after` is missing. `false`, and no records, when `after` is of another epoch,
   * was lost, does not exist yet, or is followed by messages that are no longer kept. `true` without `after`.
   */
  readonly isComplete: boolean
}

/** The hub that started a store, as the store calls it. */
export interface HistoryListener {
  /**
   * Receives a message of a subscribed room, also one that this store appended. Messages may be lost, and one
   * may overtake another (see `previous`).
   */
  onMessage(room: string, stored: StoredRecord): void
  /**
   * Called when `state` has changed. After `reconnecting`, messages may have been lost. Messages that the
   * store received before, and answers to earlier reads, must not arrive after it: the store may have lost
   * those messages, too.
   */
  onStateChange(state: BackplaneState): void
  /** Receives an error from which the store recovers by itself. */
  onError(error: Error): void
}

/**
 * Keeps the latest messages of rooms, gives each a place in the one order of its room, and passes it on to
 * the hubs that subscribed to the room. A store refuses what it cannot keep. What it evicts or loses shows as
 * another epoch or as an incomplete read: nothing is left out unnoticed.
 */
export interface HistoryStore {
  readonly state: BackplaneState
  /** Whether hubs of several processes can use the same history. */
  readonly isShared: boolean
  /**
   * Connects, and reconnects by itself from then on. Called once. Resolves when it is connected for the first
   * time; rejects only when it is closed before, or when its configuration can never work.
   */
  start(listener: HistoryListener): Promise<void>
  /**
   * Appends a message to the history of a room and passes it on.
   * @returns its place, once it is stored. Rejects, within a bounded time: with WSHUB_ERR_NOT_STORED when it
   *   is certain that the message is not stored, with anything else when that is not known
   */
  append(room: string, record: Uint8Array, limits: HistoryLimits): Promise<Appended>
  /** Reads messages of a room. Rejects, within a bounded time, if the store cannot be reached. */
  read(room: string, request: ReadRequest, limits: HistoryLimits): Promise<ReadResult>
  /**
   * Returns the latest message of each of at most 1,000 rooms, which also keeps their epochs from expiring:
   * `undefined` for a room that has none. Rejects, within a bounded time, if the store cannot be reached.
   */
  heads(rooms: readonly string[]): Promise<readonly (Mark | undefined)[]>
  /**
   * Subscribes to a room. Resolves when messages that are appended from then on are received; stays pending
   * while the store cannot be reached.
   */
  subscribe(room: string): Promise<void>
  /** Unsubscribes from a room. Some more messages of it may arrive. */
  unsubscribe(room: string): void
  /**
   * Waits for the messages that were appended before, then closes connections and stops timers; all within a
   * bounded time.
   */
  close(): Promise<void>
}
