/** Figures of the presence of a hub. */
export interface PresenceStats {
  /** Rooms whose members are followed now: those with a connection here, and for a while after that. */
  readonly rooms: number
  /** Users that are kept for them now, of all nodes: once for each room. */
  readonly members: number
  /** Changes that `presence.onChange` was called for since the hub was made. */
  readonly changes: number
  /**
   * How many times a node was asked for the members of a room since the hub was made because some had not
   * arrived: a change was lost, or there were more than the first answer names.
   */
  readonly repairs: number
}
