import { show } from '../base/errors.ts'
import { checkKeys, integersOf, invalid, type Resolved } from '../base/option-rules.ts'
import type { Payload } from '../protocol/message.ts'
import type { HistoryLimits, HistoryStore } from './history-store.ts'
import type { StampPlace } from './stamp-json.ts'

/** How much history a room has. Every key is optional; an explicit `undefined` means the default. */
export interface RoomHistoryOptions {
  /** Most messages kept, 1 or more. Default 1 000. */
  maxMessages?: number | undefined
  /** Time, in ms, for which a message is kept, 1 or more. Default 3 600 000. */
  maxAgeMs?: number | undefined
}

/** The options of the histories of rooms. */
export interface HistoryOptions {
  /** Keeps the messages. It belongs to this hub, which also closes it. */
  store: HistoryStore
  /**
   * Returns how much history a room has; `undefined` = none. The answer for a room must always be the same,
   * on all nodes. If it throws, so does the call that named the room.
   */
  rooms: (room: string) => RoomHistoryOptions | undefined
  /**
   * Returns a message with its position, as clients receive it: called once for each message and node, and
   * again for a message that is read from the store. If it throws, the error is reported and the message is
   * sent without a stamp. `stampJson` is ready-made. Without it, clients cannot say where they were.
   */
  stamp?: ((data: string | Buffer, place: StampPlace) => Payload) | undefined
  /**
   * Most bytes of recent messages that are kept ready for replays, of all rooms together; 0 = none. Default
   * 16 777 216.
   */
  maxCachedBytes?: number | undefined
  /**
   * Most bytes of messages that wait for the store, 1 or more; further messages are refused. Default 16 777
   * 216.
   */
  maxPendingBytes?: number | undefined
}

/** {@link HistoryOptions} with every default in place, frozen. */
export type ResolvedHistoryOptions = Resolved<HistoryOptions, 'stamp'>

/** The defaults of {@link HistoryOptions}. */
export const HISTORY_DEFAULTS = Object.freeze({
  store: undefined,
  rooms: undefined,
  stamp: undefined,
  maxCachedBytes: 16_777_216,
  maxPendingBytes: 16_777_216,
})

/** The defaults of {@link RoomHistoryOptions}. */
export const ROOM_HISTORY_DEFAULTS = Object.freeze({ maxMessages: 1_000, maxAgeMs: 3_600_000 })

const STORE_METHODS = ['start', 'append', 'read', 'heads', 'subscribe', 'unsubscribe', 'close'] as const

/**
 * Reads the option `history` of a hub.
 * @param isClustered whether the hub has a backplane
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION
 */
export function resolveHistoryOptions(
  options: HistoryOptions | undefined,
  isClustered: boolean,
): ResolvedHistoryOptions | undefined {
  if (options === undefined) return undefined
  if (typeof options !== 'object' || options === null) throw invalid('history', 'is an object', options)
  checkKeys(options, HISTORY_DEFAULTS, 'an option of history')
  const { store, rooms, stamp } = options
  const isStore =
    typeof store === 'object' &&
    store !== null &&
    STORE_METHODS.every((name) => typeof store[name] === 'function')
  if (!isStore) throw invalid('history.store', `is an object with ${STORE_METHODS.join(', ')}`, store)
  if (isClustered && !store.isShared) {
    throw invalid('history.store', 'is shared by the hubs of a cluster, such as redisHistory', store)
  }
  if (typeof rooms !== 'function') throw invalid('history.rooms', 'is a function', rooms)
  if (stamp !== undefined && typeof stamp !== 'function')
    throw invalid('history.stamp', 'is a function', stamp)
  const integer = integersOf(options, HISTORY_DEFAULTS, 'history.')
  return Object.freeze({
    store,
    rooms,
    stamp,
    maxCachedBytes: integer('maxCachedBytes', 0),
    maxPendingBytes: integer('maxPendingBytes', 1),
  })
}

/**
 * Reads what `history.rooms` returned for a room; `undefined` = no history.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION
 */
export function readRoomHistory(
  options: RoomHistoryOptions | undefined,
  room: string,
): HistoryLimits | undefined {
  if (options === undefined) return undefined
  if (typeof options !== 'object' || options === null) {
    throw invalid(`history.rooms(${show(room)})`, 'is an object or undefined', options)
  }
  checkKeys(options, ROOM_HISTORY_DEFAULTS, 'an option that history.rooms returns')
  const integer = integersOf(options, ROOM_HISTORY_DEFAULTS, `history.rooms(${show(room)}).`)
  return Object.freeze({ maxMessages: integer('maxMessages', 1), maxAgeMs: integer('maxAgeMs', 1) })
}

/** The stores that belong to a hub. */
const claimed = new WeakSet<HistoryStore>()

/**
 * Assigns a store to one hub: a store has one listener, and is closed with its hub.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION when it belongs to a hub already
 */
export function claimStore(store: HistoryStore): void {
  if (claimed.has(store)) throw invalid('history.store', 'belongs to one hub: make one for each', store)
  claimed.add(store)
}
