import { type Connection, type HistoryOptions, HubError, type ResumeResult } from 'wshub'
import type { EngineStore, HistoryEngine } from './history-engine.ts'
import type { Ask, HistoryLedger, Stay } from './history-ledger.ts'
import type { Metadata, Node } from './node.ts'
import { HIGH_WATER_BYTES } from './wire.ts'
import type { World } from './world.ts'

/** How the rooms of a simulation keep their messages. */
export interface HistorySettings {
  readonly maxMessages: number
  readonly maxAgeMs: number
  readonly maxCachedBytes: number
  /** Whether the store tells a publisher which message is before its own. */
  readonly tellsPrevious: boolean
}

export const HISTORY_ROOMS = ['h0', 'h1'] as const

/** The objects that all nodes of a simulation with histories share. */
export interface SharedHistory {
  readonly engine: HistoryEngine
  readonly ledger: HistoryLedger
  readonly settings: HistorySettings
}

/** The beginning of a message by which a client asks to join a room. */
const ASK = '?'
/** The beginning of a message from the application itself, rather than of a room. */
const TELL = '!'
/** Appended to messages, so that those for a client that does not read soon exceed what its node may send. */
const PADDING = '.'.repeat(80)

/** Returns the message by which a client asks to join a room. */
export function askFor(ask: Ask): string {
  return `${ASK}${JSON.stringify(ask)}`
}

/** Reads a text that a client has received. @returns `false` when it is of a room without a history */
export function readText({ ledger }: SharedHistory, place: number, name: string, text: string): boolean {
  if (text.startsWith(TELL)) {
    ledger.told(place, name, text.slice(TELL.length))
    return true
  }
  const [head = ''] = text.split(' ')
  const [id = '', position] = head.split('@')
  if (position !== undefined) ledger.received(place, name, id, position)
  return position !== undefined
}

/** The application of one node, as far as its rooms have a history. */
export class HistoryApp {
  readonly store: EngineStore
  readonly #world: World
  readonly #shared: SharedHistory
  readonly #node: Node
  /** By session and room: the latest stay whose call left the replay of an earlier call running. */
  readonly #replaced = new Map<string, Stay>()

  constructor(world: World, shared: SharedHistory, node: Node) {
    this.#world = world
    this.#shared = shared
    this.#node = node
    this.store = shared.engine.join(node.name)
  }

  get options(): HistoryOptions {
    const { maxMessages, maxAgeMs, maxCachedBytes } = this.#shared.settings
    return {
      store: this.store,
      rooms: (room) => (room.startsWith('h') ? { maxMessages, maxAgeMs } : undefined),
      stamp: (data, { position }) => data.toString().replace(' ', `@${position} `),
      maxCachedBytes,
    }
  }

  /** Handles a text of a client. @returns `false` when it is not a request */
  asked(connection: Connection<Metadata>, text: string): boolean {
    if (!text.startsWith(ASK)) return false
    const ask: Ask = JSON.parse(text.slice(ASK.length)) // as `askFor` wrote it
    const { hub, name } = this.#node
    this.#enter(connection, ask, (stay) => {
      const { room, ...from } = ask
      const place = `${stay.session.name} ${room}`
      const tell = (about: Stay, result: ResumeResult | 'away'): void => {
        this.#shared.ledger.began(about, result)
        const position = result === 'away' ? '' : result.position
        connection.sendText(`${TELL}live ${about.token} ${position}`)
      }
      const done = (result: ResumeResult | 'away'): void => {
        if (result !== 'away' && result.ended === 'replaced' && !stay.hasEnded) {
          this.#replaced.set(place, stay)
          return
        }
        tell(stay, result)
        const later = this.#replaced.get(place)
        if (later === undefined || (result !== 'away' && result.ended === 'replaced')) return
        this.#replaced.delete(place)
        // The client has received some of the messages that this result is about.
        if (!later.hasEnded) tell(later, result === 'away' ? result : { ...result, complete: false })
      }
      const resumed = allowing(
        'WSHUB_ERR_HISTORY_AWAY',
        'away' as const,
        hub.resumeRoom(connection, room, from),
      )
      this.#world.call(this.#node, `resume ${room} at ${name}`, resumed, done)
    })
    return true
  }

  /** Puts a connection into a room, and replays nothing. */
  join(connection: Connection<Metadata>, room: string): void {
    if (connection.inRoom(room)) return
    this.#enter(connection, { room }, (stay) => {
      this.#node.hub.joinRoom(connection, room)
      this.#shared.ledger.began(stay, 'joined')
      connection.sendText(`${TELL}live ${stay.token}`)
    })
  }

  /** Fills the socket of a client that does not read: what is sent next waits. */
  congest(connection: Connection<Metadata>): void {
    connection.sendText(TELL.padEnd(HIGH_WATER_BYTES))
  }

  leave(connection: Connection<Metadata>, room: string): void {
    const session = this.#world.ledger.sessions.get(connection.getMetadata('client') ?? '')
    if (session === undefined || !connection.inRoom(room)) return
    const left = this.#world.ledger.leaving(session, room, this.#node.name)
    this.#shared.ledger.left(session, room)
    this.#node.hub.leaveRoom(connection, room)
    left()
  }

  fellBehind(connection: Connection<Metadata>, room: string): void {
    this.#shared.ledger.fellBehind(connection.getMetadata('client') ?? '', room)
    connection.sendText(`${TELL}behind ${room}`)
  }

  /** Publishes a message; when that has resolved, sends a marker to the members here. @returns its id */
  publish(room: string): string {
    const { ledger } = this.#shared
    const { hub, name } = this.#node
    const id = this.#published(room)
    const published = allowing('WSHUB_ERR_NOT_STORED', undefined, hub.publish(room, `${id} ${PADDING}`))
    this.#world.call(this.#node, `publish ${id} at ${name}`, published, (result) => {
      if (result === undefined) return
      ledger.resolved(id, result.position)
      for (const connection of hub.members(room)) connection.sendText(`${TELL}after ${id}`)
    })
    return id
  }

  /** Broadcasts a message to a room, without waiting for the store. */
  broadcast(room: string): void {
    this.#node.hub.broadcastToRoom(room, `${this.#published(room)} ${PADDING}`)
  }

  broadcastExcept(room: string, name: string, id: string): void {
    this.#node.hub.broadcastToRoomExcept(room, `${this.#published(room, [name])} ${PADDING}`, id)
  }

  read(ask: Ask): void {
    const { room, ...from } = ask
    const page = allowing('WSHUB_ERR_HISTORY_AWAY', undefined, this.#node.hub.history(room, from))
    this.#world.call(this.#node, `the history of ${room}`, page, (result) => {
      if (result !== undefined) this.#shared.ledger.page(this.#node.name, ask, result)
    })
  }

  #published(room: string, exceptNames: readonly string[] = []): string {
    const id = this.#shared.ledger.publish(this.#node.name, room, exceptNames)
    this.#world.trace(`${this.#node.name} publishes ${id} to ${room}`)
    return id
  }

  /** Puts a connection into a room, if it is allowed, and records it. */
  #enter(connection: Connection<Metadata>, ask: Ask, enter: (stay: Stay) => void): void {
    const { ledger } = this.#world
    const session = ledger.sessions.get(connection.getMetadata('client') ?? '')
    if (session === undefined || connection.state !== 'open') return
    const membership = ledger.joining(session, ask.room, this.#node.name)
    const stay = this.#shared.ledger.begin(session, ask)
    connection.sendText(`${TELL}begin ${stay.token}`)
    enter(stay)
    if (membership !== undefined && connection.inRoom(ask.room)) ledger.joinedHere(membership)
  }
}

/** Resolves with `instead` when a promise rejects with an error that the trouble explains. */
async function allowing<T, U>(code: string, instead: U, promise: Promise<T>): Promise<T | U> {
  try {
    return await promise
  } catch (error) {
    if (error instanceof HubError && error.code === code) return instead
    throw error
  }
}
