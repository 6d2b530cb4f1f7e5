import type { Connection, Hub } from 'wshub'
import type { InspectorOptions } from './inspector-options.ts'
import { type RecentEvent, RecentEvents } from './recent-events.ts'

/** The most rooms, clients and events of each kind in one list. */
const LIST_LENGTH = 25
/** The most lists that one report has: as many as there are pages. */
const MAX_LISTS = 8
/** The most characters of a search and of shown metadata. */
const MAX_SEARCH = 100
const MAX_METADATA = 200

/** A room of one node. */
export interface RoomRow {
  readonly room: string
  readonly size: number
}

/** A client of one node. */
export interface ClientRow {
  readonly id: string
  readonly address: string
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

/** The rooms and clients that match one search: the largest first. */
export interface Lists {
  readonly rooms: readonly RoomRow[]
  readonly clients: readonly ClientRow[]
  readonly matchingRooms: number
  readonly matchingClients: number
}

/** A node as it answers the pages. */
export interface Report {
  readonly node: string
  readonly state: string
  readonly cluster: string
  readonly connections: number
  readonly slow: number
  readonly rooms: number
  readonly bufferedBytes: number
  readonly received: number
  readonly sent: number
  readonly closed: number
  readonly refused: number
  readonly lists: readonly Lists[]
  readonly ends: readonly RecentEvent[]
  readonly refusals: readonly RecentEvent[]
  readonly gaps: readonly RecentEvent[]
}

/** Describes one node. Nothing is kept between two reports but the latest events. */
export class NodeReport {
  /** The WebSockets of pages in this process. */
  readonly pages = new Set<Connection<object>>()
  readonly #hub: Hub<object>
  readonly #metadata: InspectorOptions['metadata']
  readonly #events: RecentEvents

  constructor(hub: Hub<object>, metadata: InspectorOptions['metadata']) {
    this.#hub = hub
    this.#metadata = metadata
    this.#events = new RecentEvents(hub)
  }

  /** Collects events from now on, for a page that was opened. */
  watch(): void {
    this.#events.watch()
  }

  /** @param searches of each, the report has its lists */
  read(searches: readonly string[]): Report {
    const hub = this.#hub
    this.#events.watch()
    const { node, state, cluster } = hub.toJSON()
    const stats = hub.stats()
    const rooms = hub.rooms().map((room) => ({ room, size: hub.roomSize(room) }))
    const clients = hub.connections().map((connection) => ({ connection, size: connection.bufferedBytes }))
    const largest = (a: { readonly size: number }, b: { readonly size: number }) => b.size - a.size
    rooms.sort(largest)
    clients.sort(largest)
    const { ends, refusals, gaps } = this.#events
    return {
      node,
      state,
      cluster,
      connections: stats.connections,
      slow: stats.slowConnections,
      rooms: stats.rooms,
      bufferedBytes: stats.bufferedBytes,
      received: stats.receivedMessages,
      sent: stats.sentMessages,
      closed: stats.closedConnections,
      refused: Object.values(stats.refusedUpgrades).reduce((sum, count) => sum + count, 0),
      lists: searches.slice(0, MAX_LISTS).map((text) => {
        const search = text.slice(0, MAX_SEARCH).toLowerCase()
        const has = (value: string) => search === '' || value.toLowerCase().includes(search)
        const foundRooms = rooms.filter(({ room }) => has(room))
        const found = clients.filter(
          ({ connection: { id, remoteAddress = '', rooms } }) =>
            has(id) || has(remoteAddress) || (search !== '' && [...rooms].some(has)),
        )
        return {
          rooms: foundRooms.slice(0, LIST_LENGTH),
          clients: found.slice(0, LIST_LENGTH).map(({ connection }) => this.#row(connection)),
          matchingRooms: foundRooms.length,
          matchingClients: found.length,
        }
      }),
      ends: ends.slice(-LIST_LENGTH),
      refusals: refusals.slice(-LIST_LENGTH),
      gaps: gaps.slice(-LIST_LENGTH),
    }
  }

  #row(connection: Connection<object>): ClientRow {
    const { id, remoteAddress = '', bufferedBytes, lastPingTime, lastPongTime, dropped } = connection
    const { rooms, moreRooms } = connection.toJSON()
    return {
      id,
      address: remoteAddress,
      rooms,
      moreRooms,
      bufferedBytes,
      rttMs: lastPongTime > 0 && lastPongTime >= lastPingTime ? lastPongTime - lastPingTime : -1,
      dropped: dropped.messages,
      metadata: this.#metadataOf(connection),
      isInspector: this.pages.has(connection),
    }
  }

  #metadataOf(connection: Connection<object>): string {
    if (this.#metadata === undefined) return ''
    try {
      return (JSON.stringify(this.#metadata(connection)) ?? '').slice(0, MAX_METADATA)
    } catch (error) {
      // One client whose metadata cannot be shown must not hide all others.
      return `(${String(error)})`.slice(0, MAX_METADATA)
    }
  }
}
