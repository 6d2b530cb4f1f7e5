import type { Connection, Hub } from 'wshub'
import { HubEvents } from '../observing/hub-events.ts'
import type { FollowQuestion } from './query.ts'

/** The most that is followed in one node at a time, by the pages of all nodes. */
const MAX_FOLLOWERS = 32
/** The most messages that are told of one follower between two questions; the others are counted. */
const MAX_SAMPLES = 20
/** Of the content of a message, the most characters of a text, and the most bytes of a binary one. */
const MAX_TEXT = 200
const MAX_BINARY_BYTES = 64

/** Something that happened to a room or client that is followed. */
export interface Sample {
  readonly at: number
  /** `received` from the client; `sent` to it alone; `broadcast` to a room, or to everyone. */
  readonly what: 'received' | 'sent' | 'broadcast' | 'dropped' | 'closed'
  /** The client, or the rooms of a broadcast. */
  readonly who: string
  readonly bytes: number
  /** Of a broadcast: how many connections of the node accepted it. */
  readonly recipients: number
  /** Empty without the permission. */
  readonly payload: string
}

/** The answer of a node about something that is followed. */
export interface FollowedReport {
  /** The client, or a member of the room, is here. */
  readonly isHere: boolean
  /** `false` when this node follows as much as it may. */
  readonly isFollowed: boolean
  readonly samples: readonly Sample[]
  /** The number of messages that were left out. */
  readonly skipped: number
}

interface Follower {
  readonly question: FollowQuestion
  samples: Sample[]
  skipped: number
  /** By the clock of `performance`. */
  askedAt: number
}

/** Takes samples of the messages of rooms and clients, while a page follows them. */
export class Followers {
  readonly #hub: Hub<object>
  readonly #isPage: (connection: Connection<object>) => boolean
  readonly #byKey = new Map<string, Follower>()
  #events: HubEvents | undefined

  /** @param isPage of the inspector's own connections nothing is told */
  constructor(hub: Hub<object>, isPage: (connection: Connection<object>) => boolean) {
    this.#hub = hub
    this.#isPage = isPage
  }

  /** Returns what has happened since the same question was asked, and follows until it is asked no more. */
  ask(question: FollowQuestion): FollowedReport {
    const { key, kind, target, payloads } = question
    let follower = this.#byKey.get(key)
    const last = follower?.question
    if (last?.kind !== kind || last.target !== target || last.payloads !== payloads) follower = undefined
    if (follower === undefined && (this.#byKey.has(key) || this.#byKey.size < MAX_FOLLOWERS)) {
      follower = { question, samples: [], skipped: 0, askedAt: 0 }
      this.#byKey.set(key, follower)
      this.#start()
    }
    const isHere =
      kind === 'client' ? this.#hub.getConnection(target) !== undefined : this.#hub.roomSize(target) > 0
    if (follower === undefined) return { isHere, isFollowed: false, samples: [], skipped: 0 }
    const { samples, skipped } = follower
    follower.samples = []
    follower.skipped = 0
    follower.askedAt = performance.now()
    return { isHere, isFollowed: true, samples, skipped }
  }

  /** Forgets what nobody has asked about for a while. */
  expire(idleMs: number): void {
    const latest = performance.now() - idleMs
    for (const [key, { askedAt }] of this.#byKey) if (askedAt < latest) this.#byKey.delete(key)
    if (this.#byKey.size === 0) this.stop()
  }

  stop(): void {
    this.#events?.stop()
  }

  #start(): void {
    if (this.#events !== undefined || this.#hub.state === 'closed') return
    const events = new HubEvents(this.#hub, 'the inspector', () => {
      this.#events = undefined
      this.#byKey.clear()
    })
    this.#events = events
    events.on('wshub:message', ({ connection, message: { data }, bytes }) => {
      for (const follower of this.#concerning(connection)) {
        this.#add(follower, 'received', connection.id, bytes, 0, data)
      }
    })
    events.on('wshub:send', ({ connection, data }) => {
      const bytes = typeof data === 'string' ? Buffer.byteLength(data) : data.byteLength
      const content = typeof data === 'string' ? data : bytesOf(data)
      for (const follower of this.#ofClient(connection)) {
        this.#add(follower, 'sent', connection.id, bytes, 1, content)
      }
    })
    events.on('wshub:delivery', ({ id, rooms, exceptIds, exceptRooms, recipients, type, payload }) => {
      const receives = (connection: Connection<object>): boolean =>
        id === undefined
          ? (rooms === undefined || rooms.some((room) => connection.inRoom(room))) &&
            !exceptIds.includes(connection.id) &&
            !exceptRooms.some((room) => connection.inRoom(room))
          : id === connection.id
      for (const follower of this.#byKey.values()) {
        const { kind, target } = follower.question
        const connection = kind === 'client' ? this.#hub.getConnection(target) : undefined
        const concerns =
          kind === 'room' ? rooms?.includes(target) : connection !== undefined && receives(connection)
        if (concerns !== true || (connection !== undefined && this.#isPage(connection))) continue
        const who = id ?? (rooms === undefined ? 'everyone' : listOf(rooms.slice(0, 5)))
        const content = type === 'text' ? textOf(payload) : payload
        this.#add(follower, id === undefined ? 'broadcast' : 'sent', who, payload.length, recipients, content)
      }
    })
    events.on('wshub:drop', ({ connection, dropped: { messages, bytes, reason } }) => {
      for (const follower of this.#ofClient(connection)) {
        this.#add(follower, 'dropped', `${connection.id}: ${messages}, ${reason}`, bytes, 0, '')
      }
    })
    events.on('wshub:close', ({ connection, cause: { by, reason } }) => {
      for (const follower of this.#concerning(connection)) {
        this.#add(follower, 'closed', `${connection.id}: ${reason} by ${by}`, 0, 0, '')
      }
    })
  }

  *#ofClient(connection: Connection<object>): Iterable<Follower> {
    if (this.#isPage(connection)) return
    for (const follower of this.#byKey.values()) {
      const { kind, target } = follower.question
      if (kind === 'client' && target === connection.id) yield follower
    }
  }

  /** Yields the followers of a connection, and of the rooms that it is in. */
  *#concerning(connection: Connection<object>): Iterable<Follower> {
    if (this.#isPage(connection)) return
    for (const follower of this.#byKey.values()) {
      const { kind, target } = follower.question
      // The rooms of a closed connection are those that it was in.
      if (kind === 'client' ? target === connection.id : connection.rooms.has(target)) yield follower
    }
  }

  #add(
    follower: Follower,
    what: Sample['what'],
    who: string,
    bytes: number,
    recipients: number,
    content: string | Uint8Array,
  ): void {
    if (follower.samples.length >= MAX_SAMPLES) {
      follower.skipped++
      return
    }
    const payload = follower.question.payloads ? excerpt(content) : ''
    follower.samples.push({ at: Date.now(), what, who: who.slice(0, MAX_TEXT), bytes, recipients, payload })
  }
}

/** Returns names as one text in which each can be told from the others. */
function listOf(names: readonly string[]): string {
  return names.map((name) => (/[,"]/.test(name) ? JSON.stringify(name) : name)).join(', ')
}

function excerpt(content: string | Uint8Array): string {
  if (typeof content === 'string') {
    return content.length > MAX_TEXT ? `${content.slice(0, MAX_TEXT)}…` : content
  }
  const hex = Buffer.from(content.subarray(0, MAX_BINARY_BYTES)).toString('hex')
  return `0x${hex}${content.length > MAX_BINARY_BYTES ? '…' : ''}`
}

/** Returns no more of a text than can be shown: a message may have megabytes. */
function textOf(payload: Buffer): string {
  return payload.toString('utf8', 0, MAX_TEXT * 4)
}

function bytesOf(data: ArrayBufferLike | ArrayBufferView): Uint8Array {
  return ArrayBuffer.isView(data)
    ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    : new Uint8Array(data)
}
