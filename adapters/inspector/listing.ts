import type { Connection, Hub } from 'wshub'
import { syncJson } from '../sync-result.ts'
import type { InspectorOptions } from './inspector-options.ts'
import type { OptionErrors } from './option-errors.ts'
import { type ClientOrder, PAGE_ROWS, type Query, type RoomOrder } from './query.ts'
import { topOf } from './top.ts'
import type { RoomTraffic, Traffic } from './traffic.ts'

/** The most characters of shown metadata, of the name of a room in the row of a client, and such names. */
const MAX_METADATA = 200
const MAX_ROOM_NAME = 60
const MAX_ROOMS = 5
/** Time, in ms, that clients are searched in a turn of the event loop: `metadata` may be slow. */
export const SLICE_MS = 5

/** A room of one node, or of all. */
export interface RoomRow extends RoomTraffic {
  readonly room: string
  readonly size: number
}

/** A client of one node. */
export interface ClientRow {
  readonly id: string
  readonly address: string
  /** Time, in ms, since it was opened. */
  readonly ageMs: number
  readonly rooms: readonly string[]
  readonly moreRooms: number
  readonly bufferedBytes: number
  /** In ms; -1 = no pong since the last ping. */
  readonly rttMs: number
  readonly dropped: number
  readonly metadata: string
  /** Whether this is the WebSocket of an inspector's page. */
  readonly isInspector: boolean
}

/** The rooms and clients of one node that match a query: the first ones of all that match. */
export interface Lists {
  readonly rooms: readonly RoomRow[]
  readonly clients: readonly ClientRow[]
  readonly matchingRooms: number
  readonly matchingClients: number
  /** `false` while the first lists for a query are being made. */
  readonly isComplete: boolean
}

/** Lists that are still being made. */
export const NO_LISTS: Lists = {
  rooms: [],
  clients: [],
  matchingRooms: 0,
  matchingClients: 0,
  isComplete: false,
}

/** The weight of a room in each order: the largest comes first. */
export const ROOM_WEIGHTS: Readonly<Record<RoomOrder, (room: RoomRow) => number>> = {
  size: ({ size }) => size,
  traffic: ({ bytes }) => bytes,
}

type ClientFigures = Pick<ClientRow, 'bufferedBytes' | 'rttMs' | 'dropped' | 'ageMs'>

/** The weight of a client in each order. */
export const CLIENT_WEIGHTS: Readonly<Record<ClientOrder, (client: ClientFigures) => number>> = {
  buffered: ({ bufferedBytes }) => bufferedBytes,
  drops: ({ dropped }) => dropped,
  rtt: ({ rttMs }) => rttMs,
  oldest: ({ ageMs }) => ageMs,
  newest: ({ ageMs }) => -ageMs,
}

/** The same for connections: rows of all of them would take most of the time. */
const OWN_WEIGHTS: Readonly<Record<ClientOrder, (connection: Connection<object>) => number>> = {
  buffered: ({ bufferedBytes }) => bufferedBytes,
  drops: ({ dropped }) => dropped.messages,
  rtt: roundTripOf,
  oldest: ({ openedAt }) => -openedAt,
  newest: ({ openedAt }) => openedAt,
}

/** Lists the rooms and clients of one node. */
export class Listing {
  readonly #hub: Hub<object>
  readonly #traffic: Traffic
  readonly #metadata: InspectorOptions['metadata']
  readonly #errors: OptionErrors
  readonly #isPage: (connection: Connection<object>) => boolean

  constructor(
    hub: Hub<object>,
    traffic: Traffic,
    metadata: InspectorOptions['metadata'],
    errors: OptionErrors,
    isPage: (connection: Connection<object>) => boolean,
  ) {
    this.#hub = hub
    this.#traffic = traffic
    this.#metadata = metadata
    this.#errors = errors
    this.#isPage = isPage
  }

  /** Makes lists; yields whenever it should go on in another turn. @param maxBytes of each list */
  *make(
    { search, roomOrder, roomPage, clientOrder, clientPage }: Query,
    maxBytes: number,
  ): Generator<undefined, Lists> {
    const pattern = search === '' ? undefined : new RegExp(search.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'), 'i')
    const names = this.#hub.rooms().filter((room) => pattern?.test(room) ?? true)
    let until = performance.now() + SLICE_MS
    let clients = this.#hub.connections()
    if (pattern !== undefined) {
      const matching: Connection<object>[] = []
      for (const connection of clients) {
        if (this.#matches(connection, pattern)) matching.push(connection)
        if (performance.now() < until) continue
        yield
        until = performance.now() + SLICE_MS
      }
      clients = matching.filter(({ state }) => state !== 'closed') // meanwhile
    }
    const roomWeight = (room: string) =>
      roomOrder === 'size' ? this.#hub.roomSize(room) : this.#traffic.bytesOf(room)
    const clientWeight = OWN_WEIGHTS[clientOrder]
    const firstRooms = topOf(names, (roomPage + 1) * PAGE_ROWS, roomWeight)
    const firstClients = topOf(clients, (clientPage + 1) * PAGE_ROWS, clientWeight)
    const rows: ClientRow[] = []
    for (const connection of firstClients) {
      rows.push(this.#client(connection))
      if (performance.now() < until) continue
      yield
      until = performance.now() + SLICE_MS
    }
    return {
      rooms: bounded(maxBytes, firstRooms, (room) => this.#room(room)),
      clients: bounded(maxBytes, rows, (row) => row),
      matchingRooms: names.length,
      matchingClients: clients.length,
      isComplete: true,
    }
  }

  /** Returns rooms by their names, those that have no member here included. */
  named(rooms: readonly string[], maxBytes: number): readonly RoomRow[] {
    return bounded(maxBytes, rooms, (room) => this.#room(room))
  }

  #room(room: string): RoomRow {
    return { room, size: this.#hub.roomSize(room), ...this.#traffic.of(room) }
  }

  #matches(connection: Connection<object>, pattern: RegExp): boolean {
    const { id, remoteAddress = '', rooms } = connection
    if (pattern.test(id) || pattern.test(remoteAddress)) return true
    for (const room of rooms) if (pattern.test(room)) return true
    return this.#metadata !== undefined && pattern.test(this.#metadataOf(connection))
  }

  #client(connection: Connection<object>): ClientRow {
    const { id, remoteAddress = '', rooms } = connection
    const names: string[] = []
    for (const room of rooms) {
      if (names.length === MAX_ROOMS) break
      names.push(room.length > MAX_ROOM_NAME ? `${room.slice(0, MAX_ROOM_NAME)}…` : room)
    }
    return {
      id,
      address: remoteAddress,
      rooms: names,
      moreRooms: rooms.size - names.length,
      ...figures(connection),
      metadata: this.#metadataOf(connection),
      isInspector: this.#isPage(connection),
    }
  }

  #metadataOf(connection: Connection<object>): string {
    if (this.#metadata === undefined) return ''
    try {
      const metadata = this.#metadata(connection)
      const shown = typeof metadata === 'string' ? metadata.slice(0, MAX_METADATA) : metadata // it may have MBs
      return (syncJson('the option metadata', shown) ?? '').slice(0, MAX_METADATA)
    } catch (error) {
      // One client whose metadata cannot be shown must not hide all others.
      this.#errors.report(error, 'the option metadata of the inspector')
      return '(the option metadata has failed)'
    }
  }
}

/** Returns the time between the last ping and its pong, in ms; -1 without one. */
function roundTripOf({ lastPingTime, lastPongTime }: Connection<object>): number {
  return lastPongTime > 0 && lastPongTime >= lastPingTime ? lastPongTime - lastPingTime : -1
}

function figures(connection: Connection<object>): ClientFigures {
  const { bufferedBytes, openedAt, dropped } = connection
  const now = Math.round(performance.timeOrigin + performance.now())
  const ageMs = openedAt > 0 ? now - openedAt : 0
  return { bufferedBytes, rttMs: roundTripOf(connection), ageMs, dropped: dropped.messages }
}

/** Makes rows until they are too long together: a message between nodes has a limit. */
function bounded<Item, Row>(maxBytes: number, items: readonly Item[], rowOf: (item: Item) => Row): Row[] {
  const rows: Row[] = []
  let bytes = 0
  for (const item of items) {
    const row = rowOf(item)
    bytes += Buffer.byteLength(JSON.stringify(row))
    if (bytes > maxBytes) break
    rows.push(row)
  }
  return rows
}
