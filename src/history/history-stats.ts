/** Counters of the histories of a hub since it was made. */
export interface HistoryStats {
  /**
   * Rooms with a history that are followed now: those with a member here, and for a while after the last one.
   */
  rooms: number
  /** Messages that were stored. */
  appended: number
  /** Messages that were not stored, or not known to be: they were delivered to nobody here. */
  refused: number
  /** Messages that did not arrive by the feed of the store, and were read from it. */
  repaired: number
  /** Messages that arrived again, and were not delivered again. */
  repeated: number
  /**
   * How many times messages of a room were lost for this node: the store had lost or evicted them as well.
   */
  lost: number
  /** Calls of `resumeRoom` that have ended. */
  resumed: number
  /** Of these, those that were not complete. */
  incomplete: number
  /** Messages replayed to single connections. */
  replayed: number
  /** How many times a slow client was sent again what had been dropped for it. */
  resynced: number
}

/** Returns the counters of histories that have done nothing yet. */
export function newHistoryStats(): HistoryStats {
  return {
    rooms: 0,
    appended: 0,
    refused: 0,
    repaired: 0,
    repeated: 0,
    lost: 0,
    resumed: 0,
    incomplete: 0,
    replayed: 0,
    resynced: 0,
  }
}
