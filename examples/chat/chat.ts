/**
 * A chat: one handler for all three servers, and its page.
 *
 * The protocol is JSON in text messages. `id` is that of the connection, `at` is in ms since 1970.
 *
 *     from the page                 from the server
 *     { type: 'join', name, room }    { type: 'here', room, you, people: [{ id, name }] }  after join and who
 *     { type: 'say', text }           { type: 'said', id, name, text, at }                 to the room
 *     { type: 'who' }                 { type: 'joined', id, name, at }                     to the others
 *     { type: 'leave' }               { type: 'left', id, name, at }                       to the others
 *                                     { type: 'rooms', rooms: [{ name, people }] }         to everybody
 *                                     { type: 'error', message }                           to the sender
 *
 * A connection is in one room at a time. A room exists while somebody is in it.
 */
import { readFileSync } from 'node:fs'
import type { Connection, EventHandler, Hub, Message } from 'wshub'

type Metadata = { name: string }
type Chatter = Connection<Metadata>

const maxNameLength = 30
const maxTextLength = 2_000
const maxListedRooms = 20

export const page = readFileSync(new URL('./page.html', import.meta.url), 'utf8')

export const chat: EventHandler<Metadata> = {
  onOpen(conn) {
    send(conn, roomList(conn.hub))
  },

  onMessage(conn, message) {
    try {
      const input = parse(message)
      switch (input.type) {
        case 'join':
          return join(conn, text(input, 'name', maxNameLength), text(input, 'room', maxNameLength))
        case 'say':
          return say(conn, text(input, 'text', maxTextLength))
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

  onClose(conn) {
    leave(conn)
  },
}

function join(conn: Chatter, name: string, room: string) {
  leave(conn)
  conn.setMetadata('name', name)
  conn.hub.joinRoom(conn, room)
  who(conn)
  const joined = { type: 'joined', id: conn.id, name, at: Date.now() }
  conn.hub.broadcastToRoomExcept(room, JSON.stringify(joined), conn.id)
  conn.hub.broadcast(JSON.stringify(roomList(conn.hub)))
}

function say(conn: Chatter, text: string) {
  const said = { type: 'said', id: conn.id, name: conn.getMetadata('name'), text, at: Date.now() }
  conn.hub.broadcastToRoom(roomOf(conn), JSON.stringify(said))
}

function who(conn: Chatter) {
  const room = roomOf(conn)
  const people = conn.hub.members(room).map(({ id, metadata }) => ({ id, name: metadata.get('name') }))
  send(conn, { type: 'here', room, you: conn.id, people })
}

function leave(conn: Chatter) {
  const [room] = conn.rooms
  if (room === undefined) return
  conn.hub.leaveRoom(conn, room)
  const left = { type: 'left', id: conn.id, name: conn.getMetadata('name'), at: Date.now() }
  conn.hub.broadcastToRoom(room, JSON.stringify(left))
  conn.hub.broadcast(JSON.stringify(roomList(conn.hub)))
}

function roomOf(conn: Chatter): string {
  const [room] = conn.rooms
  if (room === undefined) throw new BadInput('Join a room first.')
  return room
}

function roomList(hub: Hub<Metadata>) {
  const rooms = hub.rooms().map((name) => ({ name, people: hub.roomSize(name) }))
  return { type: 'rooms', rooms: rooms.sort((a, b) => b.people - a.people).slice(0, maxListedRooms) }
}

function send(conn: Chatter, message: object) {
  conn.sendText(JSON.stringify(message))
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
