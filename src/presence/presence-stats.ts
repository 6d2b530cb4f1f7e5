/** Figures of the presence of a hub. */
export interface PresenceStats {
  /** Rooms whose members are followed now: those that have a connection here, or had one until recently. */
  readonly rooms: number
  /** Users of all nodes that are kept for these rooms now, once for each room. */
  readonly members: number
  /** Calls of `presence.onChange` since the hub was made. */
  readonly changes: number
  /**
   * How many times a node was asked for the members of a room since the hub was made because some had not
   * arrived: a change was lost, or there were more than the first answer names.
   */
  readonly repairs: number
}
