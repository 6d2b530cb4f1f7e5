import { joinRoom, leaveRoom } from './join-and-leave.ts'
import { membershipOf, ROOMS } from './records.ts'
import { type StepKind, withNode, withSession } from './step-kind.ts'
import type { World } from './world.ts'

/** Time, in ms, for a client to be connected. */
const CONNECT_MS = 10
/** One pick in so many is the room of the mode `count`. */
const COUNTED_SHARE = 5

/** Kinds of steps about rooms with presence. */
export const PRESENCE_STEPS = {
  enter: {
    weight: 14,
    run: (world, [client, room]) =>
      withSession(world, client, (node, session) => joinRoom(world, node, session, roomOf(room))),
  },

  exit: {
    weight: 12,
    run: (world, [client, room]) =>
      withSession(world, client, (node, session) => {
        const name = roomOf(room)
        if (membershipOf(session, name) !== undefined) leaveRoom(world, node, session, name)
      }),
  },

  /** A client loses its connection, and joins its rooms again, perhaps on another node. */
  move: {
    weight: 8,
    run: (world, [client, place, room]) => {
      const at = client % world.clients.length
      world.clients[at]?.drop()
      withNode(world, place, (node) => world.connect(at, node))
      world.clock.post('world', () => enterLater(world, at, room), CONNECT_MS)
    },
  },

  changeMood: {
    weight: 6,
    run: (world, [client, mood]) =>
      withSession(world, client, (node, session) => {
        const connection = node.connection(session.id)
        if (connection === undefined) return
        connection.setMetadata('mood', mood % 10)
        node.hub.updatePresence(connection)
      }),
  },
} satisfies Readonly<Record<string, StepKind>>

function enterLater(world: World, client: number, room: number): void {
  withSession(world, client, (node, session) => joinRoom(world, node, session, roomOf(room)))
}

function roomOf(pick: number): string {
  return pick % COUNTED_SHARE === 0 ? ROOMS[1] : ROOMS[0]
}
