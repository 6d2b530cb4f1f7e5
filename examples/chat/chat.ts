/**
 * A chat: one handler for all three servers, and its page.
 *
 * The protocol is JSON in text messages. `id` is that of the connection, `sentAt` is in ms since 1970.
 *
 *   from the page                        from the server
 *   { type: 'join', name, room, since }  { type: 'here', room, you, people: [{ id, name }] }  after join, who
 *   { type: 'say', text }                { type: 'said', at, id, name, text, sentAt }         to the room
 *   { type: 'who' }                      { type: 'resumed', room, complete, position }        after join
 *   { type: 'leave' }                    { type: 'joined', id, name, sentAt }                 to the others
 *                                        { type: 'left', id, name, sentAt }                   to the others
 *                                        { type: 'behind', room }                             see below
 *                                        { type: 'rooms', rooms: [{ name, people }] }         to everybody
 *                                        { type: 'error', message }                           to the sender
 *
 * A connection is in one room at a time. A room is listed while somebody is in it.
 *
 * What is said is kept. `at` is the position of a message: a page that was away joins with the latest one
 * that it has as `since`, and receives what was said after it, then `resumed`. A page without one, or whose
 * position is not kept any more, receives the latest messages. `complete: false`, or `behind` at any time,
 * means that messages between are lost for this page.
 */
import { readFileSync } from 'node:fs'
import { CloseCode, type Connection, type EventHandler, type Hub, HubError, type Message } from 'wshub'

type Metadata = { name: string }
type Chatter = Connection<Metadata>

const maxNameLength = 30
const maxTextLength = 2_000
const maxListedRooms = 20
const latestMessages = 50

export const page = readFileSync(new URL('./page.html', import.meta.url), 'utf8')

export const chat: EventHandler<Metadata> = {
  onOpen(conn) {
    send(conn, roomList(conn.hub))
  },

  async onMessage(conn, message) {
    try {
      const input = parse(message)
      switch (input.type) {
        case 'join':
          return await join(
            conn,
            text(input, 'name', maxNameLength),
            text(input, 'room', maxNameLength),
            input.since ?? undefined,
          )
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

  onClose(conn) {
    leave(conn)
  },
}

async function join(conn: Chatter, name: string, room: string, since: unknown) {
  leave(conn)
  conn.setMetadata('name', name)
  conn.hub.joinRoom(conn, room)
  who(conn)
  tellOthers(conn, room, 'joined')
  conn.hub.broadcast(JSON.stringify(roomList(conn.hub)))
  try {
    // No message comes between: this is the same turn of the event loop.
    const { complete, position } = await conn.hub.resumeRoom(conn, room, { since, last: latestMessages })
    const hasLeft = since === undefined && !complete // nothing else makes it incomplete
    if (!hasLeft) send(conn, { type: 'resumed', room, complete, position })
  } catch (error) {
    if (!isHubError(error, 'WSHUB_ERR_HISTORY_AWAY')) throw error
    conn.close(CloseCode.tryAgainLater) // the page comes back with the same position
  }
}

async function say(conn: Chatter, text: string) {
  const said = { type: 'said', id: conn.id, name: conn.getMetadata('name'), text, sentAt: Date.now() }
  try {
    await conn.hub.publish(roomOf(conn), JSON.stringify(said))
  } catch (error) {
    if (!isHubError(error, 'WSHUB_ERR_NOT_STORED')) throw error
    send(conn, { type: 'error', message: 'That was not sent. Please try again.' })
  }
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
  tellOthers(conn, room, 'left')
  conn.hub.broadcast(JSON.stringify(roomList(conn.hub)))
}

/** Tells the others in this process. Notices are not kept: `here` lists who is there when somebody joins. */
function tellOthers(conn: Chatter, room: string, type: 'joined' | 'left') {
  const notice = { type, id: conn.id, name: conn.getMetadata('name'), sentAt: Date.now() }
  conn.hub.broadcastToRoomExcept(room, JSON.stringify(notice), conn.id, { local: true })
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
