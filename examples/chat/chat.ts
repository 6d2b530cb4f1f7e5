/**
 * A chat: one handler for all three servers, and its page.
 *
 * The protocol is JSON in text messages. `id` is that of a person, `sentAt` is in ms since 1970.
 *
 *   from the page                             from the server
 *   { type: 'join', name, room, key, since }  { type: 'here', room, you, people }     after join and who
 *   { type: 'say', text }                     { type: 'said', at, id, name, text, sentAt }  to the room
 *   { type: 'who' }                           { type: 'resumed', room, complete, position }  after join
 *   { type: 'leave' }                         { type: 'joined', id, name, sentAt }    to the others
 *                                             { type: 'named', id, name, sentAt }     to the others
 *                                             { type: 'left', id, sentAt }            to the others
 *                                             { type: 'behind', room }                see below
 *                                             { type: 'rooms', rooms }                to everybody
 *                                             { type: 'error', message }              to the sender
 *
 * Each of `people` is `{ id, name }`, each of `rooms` is `{ name, people }`, with the number of people.
 *
 * A connection is in one room at a time. A room is listed while somebody is in it. A person who comes back
 * with the same secret `key` is the same one, so a reload is no news.
 *
 * The server keeps what is said. `at` is the position of a message: a page that was away joins with the
 * latest one that it has as `since`, and receives what was said after it, then `resumed`. A page without
 * one, or whose position is not kept any more, receives the latest messages. `behind` comes before any
 * message after those that are lost for this page.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import {
  CloseCode,
  type Connection,
  type EventHandler,
  type Hub,
  HubError,
  type Message,
  type PresenceOptions,
} from 'wshub'

type Metadata = { user: string; name: string }
type Chatter = Connection<Metadata>

const maxNameLength = 30
const maxTextLength = 2_000
const maxKeyLength = 100
const maxListedRooms = 20
const latestMessages = 50
const leaveGraceMs = 1_000

export const page = readFileSync(new URL('./page.html', import.meta.url), 'utf8')

/** Who is in a room, on all nodes. Each node tells its own connections. */
export function chatPresence(hub: () => Hub): PresenceOptions<Connection> {
  return {
    rooms: () => 'members',
    user: (conn) => String(conn.getMetadata('user')),
    info: (conn) => ({ name: conn.getMetadata('name') }),
    leaveGraceMs,
    onChange(room, { joined, left, updated }) {
      const sentAt = Date.now()
      const tell = (id: string, message: object) => {
        const except = hub()
          .members(room)
          .filter((conn) => conn.getMetadata('user') === id)
        hub().broadcastToRoom(room, JSON.stringify(message), { local: true, except })
      }
      for (const { user: id, info } of joined) tell(id, { type: 'joined', id, ...Object(info), sentAt })
      for (const { user: id, info } of updated) tell(id, { type: 'named', id, ...Object(info), sentAt })
      for (const id of left) tell(id, { type: 'left', id, sentAt })
      hub().broadcast(JSON.stringify(roomList(hub())), { local: true })
    },
  }
}

export const chat: EventHandler<Metadata> = {
  onOpen(conn) {
    send(conn, roomList(conn.hub))
  },

  async onMessage(conn, message) {
    try {
      const input = parse(message)
      switch (input.type) {
        case 'join':
          return await join(conn, {
            name: text(input, 'name', maxNameLength),
            room: text(input, 'room', maxNameLength),
            key: input.key === undefined ? undefined : text(input, 'key', maxKeyLength),
            since: input.since ?? undefined,
          })
        case 'say':
          return await say(conn, text(input, 'text', maxTextLength))
        case 'who':
          return who(conn)
        case 'leave':
          return leave(conn)
        default:
          throw new BadInput('"type" is one of join, say, who, leave.')
      }
    } catch (error) {
      if (!(error instanceof BadInput)) throw error
      send(conn, { type: 'error', message: error.message })
    }
  },

  onBehind(conn, room) {
    send(conn, { type: 'behind', room })
  },
}

interface Joining {
  name: string
  room: string
  key: string | undefined
  since: unknown
}

async function join(conn: Chatter, { name, room, key, since }: Joining) {
  leave(conn)
  conn.setMetadata('user', key === undefined ? conn.id : publicId(key))
  conn.setMetadata('name', name)
  conn.hub.joinRoom(conn, room)
  who(conn)
  try {
    // No message comes between: this is the same turn of the event loop.
    const { complete, position, ended } = await conn.hub.resumeRoom(conn, room, {
      since,
      last: latestMessages,
    })
    if (ended === undefined) send(conn, { type: 'resumed', room, complete, position })
  } catch (error) {
    if (!isHubError(error, 'WSHUB_ERR_HISTORY_AWAY')) throw error
    conn.close(CloseCode.tryAgainLater) // the page comes back with the same position
  }
}

async function say(conn: Chatter, text: string) {
  const [id, name] = [conn.getMetadata('user'), conn.getMetadata('name')]
  const said = { type: 'said', id, name, text, sentAt: Date.now() }
  try {
    await conn.hub.publish(roomOf(conn), JSON.stringify(said))
  } catch (error) {
    if (!isHubError(error, 'WSHUB_ERR_NOT_STORED')) throw error
    send(conn, { type: 'error', message: 'That was not sent. Please try again.' })
  }
}

function who(conn: Chatter) {
  const room = roomOf(conn)
  const { members } = conn.hub.presence<{ name: string }>(room)
  const people = members.map(({ user: id, info }) => ({ id, name: info.name }))
  send(conn, { type: 'here', room, you: conn.getMetadata('user'), people })
}

function leave(conn: Chatter) {
  const [room] = conn.rooms
  if (room !== undefined) conn.hub.leaveRoom(conn, room)
}

/** Returns what the others may know of a key: with the key itself, they could pose as its owner. */
function publicId(key: string): string {
  return createHash('sha256').update(key).digest('base64url').slice(0, 16)
}

function roomOf(conn: Chatter): string {
  const [room] = conn.rooms
  if (room === undefined) throw new BadInput('Join a room first.')
  return room
}

function roomList(hub: Hub) {
  const rooms = hub.rooms().map((name) => ({ name, people: hub.presence(name).count }))
  return { type: 'rooms', rooms: rooms.sort((a, b) => b.people - a.people).slice(0, maxListedRooms) }
}

function send(conn: Chatter, message: object) {
  conn.sendText(JSON.stringify(message))
}

function isHubError(error: unknown, code: HubError['code']): boolean {
  return error instanceof HubError && error.code === code
}

/** An error of the client: only this client is told. */
class BadInput extends Error {}

function parse(message: Message): Record<string, unknown> {
  if (message.type === 'binary') throw new BadInput('Send JSON as a text message.')
  let value: unknown
  try {
    value = JSON.parse(message.data)
  } catch {
    throw new BadInput('That was not JSON.')
  }
  if (typeof value !== 'object' || value === null) throw new BadInput('Send a JSON object.')
  return { ...value }
}

function text(input: Record<string, unknown>, key: string, maxLength: number): string {
  const value = input[key]
  const trimmed = typeof value === 'string' ? value.trim() : ''
  if (trimmed === '' || trimmed.length > maxLength) {
    throw new BadInput(`"${key}" is a text of 1 to ${maxLength} characters.`)
  }
  return trimmed
}
