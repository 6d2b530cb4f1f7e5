import { checkKeys, integersOf, invalid } from '../base/option-rules.ts'

/** How a room has presence: `members` = by user, `count` = a number only. */
export type PresenceMode = 'members' | 'count'

/** A user who is in a room. */
export interface PresenceMember<Info = unknown> {
  readonly user: string
  /**
   * The latest result of `presence.info` for a connection of the user, as JSON carries it; frozen. Each node
   * with connections of the user keeps its latest one, also when that connection has left.
   */
  readonly info: Info
  /**
   * The number of the user's connections in the room, on all nodes; 0 for a user who has left and still may
   * come back within `leaveGraceMs`.
   */
  readonly connections: number
}

/** Who is in a room. */
export interface RoomPresence<Info = unknown> {
  /** Each user once; empty for a room that is only counted. */
  readonly members: readonly PresenceMember<Info>[]
  /**
   * The number of users, each once, and of connections without a user. The number of connections for a room
   * of the mode `count`; in a room with more members than `maxMembersPerRoom`, a user of several nodes counts
   * once for each.
   */
  readonly count: number
  /**
   * Whether `members` and `count` are complete: the other nodes have answered, the cluster is connected, and
   * there are no more members than `maxMembersPerRoom`.
   */
  readonly isComplete: boolean
}

/** The changes in a room since the previous call. */
export interface PresenceChange<Info = unknown> {
  readonly joined: readonly PresenceMember<Info>[]
  /** The ids of users who have left and did not come back within `leaveGraceMs`. */
  readonly left: readonly string[]
  /** Users whose `info` has changed. */
  readonly updated: readonly PresenceMember<Info>[]
  /** As in {@link RoomPresence}. */
  readonly count: number
  /**
   * As in {@link RoomPresence}. While there are too many members, no user is named. After that, `members` of
   * `hub.presence(room)` are what the next changes refer to.
   */
  readonly isComplete: boolean
}

/** The options of the presence of rooms. `Subject` is a connection. */
export interface PresenceOptions<in Subject = object> {
  /**
   * Returns how a room has presence; `undefined` = none. The answer for a room must always be the same, on
   * all nodes. If it throws, so does the call that named the room.
   */
  rooms: (room: string) => PresenceMode | undefined
  /**
   * Returns the id of the user behind a connection, at most 256 bytes; `undefined` = anonymous: counted, not
   * listed. Called when the connection joins its first room with members, and by `hub.updatePresence`.
   * Without it, all connections are anonymous.
   */
  user?: ((connection: Subject) => string | undefined) | undefined
  /**
   * Returns what others may know of the user: anything that JSON carries, at most `maxInfoBytes` long. Called
   * after `user`.
   */
  info?: ((connection: Subject) => unknown) | undefined
  /**
   * Time, in ms, for which a user without connections still counts as present, on all nodes; 0 = none.
   * Default 5 000.
   */
  leaveGraceMs?: number | undefined
  /**
   * Most members of a room that are listed, 1 to 100 000; above it the room is only counted. Default 1 000.
   */
  maxMembersPerRoom?: number | undefined
  /**
   * Most bytes of the JSON of an info, 1 to 65 536, and at most half of `cluster.maxEnvelopeBytes` less 768,
   * to which a higher default is lowered. Default 1 024.
   */
  maxInfoBytes?: number | undefined
  /**
   * Called when the presence of a room has changed, on each node that has a connection in it: once a turn of
   * the event loop and room at most.
   */
  onChange?: ((room: string, change: PresenceChange) => void) | undefined
}

/** {@link PresenceOptions} with every default in place, frozen. */
export interface ResolvedPresenceOptions {
  readonly rooms: (room: string) => PresenceMode | undefined
  readonly user: ((connection: object) => string | undefined) | undefined
  readonly info: ((connection: object) => unknown) | undefined
  readonly leaveGraceMs: number
  readonly maxMembersPerRoom: number
  readonly maxInfoBytes: number
  readonly onChange: ((room: string, change: PresenceChange) => void) | undefined
}

/** The defaults of {@link PresenceOptions}; a test compares the table of `docs/presence.md` with them. */
export const PRESENCE_DEFAULTS = Object.freeze({
  rooms: undefined,
  user: undefined,
  info: undefined,
  leaveGraceMs: 5_000,
  maxMembersPerRoom: 1_000,
  maxInfoBytes: 1_024,
  onChange: undefined,
})

/** The most bytes of the id of a user. */
export const MAX_USER_BYTES = 256

const MOST_MEMBERS = 100_000
const MOST_INFO_BYTES = 65_536
/** Bytes of an envelope in addition to an info: the header, and the id of a user. */
const ENVELOPE_REST_BYTES = 768

/**
 * Reads the option `presence` of a hub.
 * @param maxEnvelopeBytes most bytes of a message between nodes
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION
 */
export function resolvePresenceOptions<Subject extends object>(
  options: PresenceOptions<Subject> | undefined,
  maxEnvelopeBytes: number,
): ResolvedPresenceOptions | undefined {
  if (options === undefined) return undefined
  if (typeof options !== 'object' || options === null) throw invalid('presence', 'is an object', options)
  checkKeys(options, PRESENCE_DEFAULTS, 'an option of presence')
  const { rooms, user, info, onChange } = options
  if (typeof rooms !== 'function') throw invalid('presence.rooms', 'is a function', rooms)
  for (const [key, value] of Object.entries({ user, info, onChange })) {
    if (value !== undefined && typeof value !== 'function') {
      throw invalid(`presence.${key}`, 'is a function', value)
    }
  }
  const integer = integersOf(options, PRESENCE_DEFAULTS, 'presence.')
  const maxInfoBytes = integer('maxInfoBytes', 1, MOST_INFO_BYTES)
  // A text with a character that is not Latin-1 is sent as UTF-16: two bytes for each of ASCII.
  const mostInfoBytes = Math.floor((maxEnvelopeBytes - ENVELOPE_REST_BYTES) / 2)
  if (options.maxInfoBytes !== undefined && maxInfoBytes > mostInfoBytes) {
    const rule = `is at most half of cluster.maxEnvelopeBytes less ${ENVELOPE_REST_BYTES}: ${mostInfoBytes}`
    throw invalid('presence.maxInfoBytes', rule, maxInfoBytes)
  }
  return Object.freeze({
    rooms,
    // Called with connections of this hub only, which are Subjects.
    user: user as ResolvedPresenceOptions['user'],
    info: info as ResolvedPresenceOptions['info'],
    leaveGraceMs: integer('leaveGraceMs', 0),
    maxMembersPerRoom: integer('maxMembersPerRoom', 1, MOST_MEMBERS),
    maxInfoBytes: Math.min(maxInfoBytes, mostInfoBytes),
    onChange,
  })
}
