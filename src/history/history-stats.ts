/** Counters of the histories of a hub since it was made. */
export interface HistoryStats {
  /** Rooms with a history that are followed now: those that have a member here, or had one until recently. */
  rooms: number
  /** Messages that were stored. */
  appended: number
  /** Bytes of these, as the store keeps them. */
  appendedBytes: number
  /** Bytes of memory that the latest messages take now. */
  cachedBytes: number
  /** Messages that were not stored, or perhaps not; nobody here received them. */
  refused: number
  /** Messages that the feed of the store lost, and that were read from it. */
  repaired: number
  /** Messages that arrived again, and were not delivered again. */
  repeated: number
  /**
   * How many times this node could not deliver messages of a room, because the store had lost or evicted
   * them.
   */
  lost: number
  /** Calls of `resumeRoom` that have settled. */
  resumed: number
  /** Of these, calls with `ended`. */
  ended: number
  /** Of these, calls whose connection has missed messages; those with `ended` do not count. */
  incomplete: number
  /** Messages replayed to single connections. */
  replayed: number
  /** How many times messages that were dropped for a slow client were sent to it again. */
  resynced: number
}

/** Returns counters of 0. */
export function newHistoryStats(): HistoryStats {
  return {
    rooms: 0,
    appended: 0,
    appendedBytes: 0,
    cachedBytes: 0,
    refused: 0,
    repaired: 0,
    repeated: 0,
    lost: 0,
    resumed: 0,
    ended: 0,
    incomplete: 0,
    replayed: 0,
    resynced: 0,
  }
}
