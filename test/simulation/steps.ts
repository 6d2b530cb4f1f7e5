import { CALM } from './engine.ts'
import { HISTORY_STEPS } from './history-steps.ts'
import { joinRoom, leaveRoom } from './join-and-leave.ts'
import { CALL_TIMEOUT_MS, type Node } from './node.ts'
import { PRESENCE_STEPS } from './presence-steps.ts'
import { membershipOf, ROOMS, type Session } from './records.ts'
import { type Picks, type StepKind, withNode, withSession } from './step-kind.ts'
import type { World } from './world.ts'

/** One step of a script. */
export interface Step {
  readonly kind: StepName
  readonly picks: Picks
  /** Time until the next step, in ms. */
  readonly ms: number
}

const MOST_BURST = 12
const MOST_UNIONS = 60
/** Most time, in ms, that a slow message takes to the engine. */
const MOST_SLOW_MS = 40

/** Kinds of steps that every script may have. */
export const CLUSTER_STEPS = {
  start: { weight: 3, run: (world, [place]) => world.startNode(place % world.nodes.length) },

  kill: {
    weight: 1,
    run: (world, [place]) => {
      const node = world.upNode(place)
      if (node === undefined || world.upNodes().length < 2) return
      for (const client of world.clients) if (client?.node === node.name) client.drop()
      node.kill()
    },
  },

  close: {
    weight: 1,
    run: (world, [place]) => {
      if (world.upNodes().length > 1) withNode(world, place, (node) => node.close())
    },
  },

  pause: {
    weight: 1,
    run: (world, [place]) => {
      const node = world.upNode(place)
      if (node === undefined) return
      world.trace(`${node.name} stands still`)
      world.clock.pause(node.name)
    },
  },

  resume: {
    weight: 2,
    run: (world, [place]) => {
      const node = world.nodes[place % world.nodes.length]
      if (node?.isUp === true) world.resume(node)
    },
  },

  cut: { weight: 2, run: (world, [place]) => withNode(world, place, (node) => node.backplane.cut()) },

  hang: {
    weight: 1,
    run: (world, [place]) =>
      withNode(world, place, (node) => {
        world.trace(`the connection of ${node.name} hangs`)
        node.backplane.hang()
        node.deafSince ??= world.clock.now
      }),
  },

  forget: {
    weight: 1,
    run: (world, [place, channel]) => withNode(world, place, (node) => node.backplane.forget(channel)),
  },

  restore: { weight: 4, run: (world, [place]) => withNode(world, place, (node) => node.restore()) },

  storm: {
    weight: 2,
    run: (world, [kind, share, delay]) => {
      const most = (share % 10) / 20
      const delayMs = [2, 10, 40, 150][delay % 4] ?? 0
      // With these delays, an answer may arrive later than a call waits for it.
      if (4 * delayMs > CALL_TIMEOUT_MS) world.engine.hasLost = true
      world.engine.weather = {
        delayMs,
        drop: kind % 2 === 0 ? most : 0,
        duplicate: kind % 3 === 0 ? most : 0,
        full: kind % 5 === 0 ? most : 0,
        refuse: kind % 7 === 0 ? most : 0,
      }
    },
  },

  slowDown: {
    weight: 2,
    run: (world, [share, delay]) => {
      const duplicate = share % 2 === 0 ? 0.2 : 0
      world.engine.weather = { ...CALM, delayMs: 10 + (delay % 40), duplicate }
    },
  },

  calm: {
    weight: 1,
    run: (world) => {
      world.engine.weather = CALM
    },
  },

  connect: {
    weight: 5,
    run: (world, [client, place]) => {
      const node = world.upNode(place)
      if (node !== undefined) world.connect(client % world.clients.length, node)
    },
  },

  leaveClean: { weight: 1, run: (world, [client]) => world.clients[client % world.clients.length]?.close() },
  drop: { weight: 1, run: (world, [client]) => world.clients[client % world.clients.length]?.drop() },
  vanish: { weight: 1, run: (world, [client]) => world.clients[client % world.clients.length]?.vanish() },
  stall: { weight: 3, run: (world, [client]) => world.clients[client % world.clients.length]?.stall() },
  readOn: { weight: 2, run: (world, [client]) => world.clients[client % world.clients.length]?.resume() },

  join: {
    weight: 6,
    run: (world, [client, room]) =>
      withSession(world, client, (node, session) => joinRoom(world, node, session, roomOf(room))),
  },

  leave: {
    weight: 2,
    run: (world, [client, room]) =>
      withSession(world, client, (node, session) => {
        const name = joinedRoom(session, room)
        if (name !== undefined) leaveRoom(world, node, session, name)
      }),
  },

  joinFromAfar: {
    weight: 2,
    run: (world, [client, room, place]) => {
      const session = world.sessionOf(client)
      const name = roomOf(room)
      if (session === undefined) return
      withNode(world, place, (node) => {
        const membership = world.ledger.joining(session, name, node.name)
        if (membership === undefined) return
        world.call(node, `join ${name}`, node.hub.cluster.join({ id: session.id }, name), ({ count }) => {
          if (count === 1) world.ledger.joinedHere(membership)
        })
      })
    },
  },

  leaveFromAfar: {
    weight: 1,
    run: (world, [client, room, place]) => {
      const session = world.sessionOf(client)
      if (session === undefined) return
      withNode(world, place, (node) => {
        const name = joinedRoom(session, room)
        if (name === undefined) return
        const left = world.ledger.leaving(session, name, node.name)
        world.call(node, `leave ${name}`, node.hub.cluster.leave({ id: session.id }, name), ({ missing }) => {
          if (missing.length === 0) left()
        })
      })
    },
  },

  kick: {
    weight: 1,
    run: (world, [client, , place]) => {
      const session = world.sessionOf(client)
      if (session === undefined) return
      withNode(world, place, (node) => {
        const name = world.ledger.call(node.name)
        world.call(node, name, node.hub.cluster.disconnect({ id: session.id }, 4_000, name))
      })
    },
  },

  send: {
    weight: 10,
    run: (world, [place, room, haste]) =>
      withNode(world, place, (node) => {
        node.publish({ scope: 'room', rooms: [roomOf(room)] }, (id) =>
          node.hub.broadcastToRoom(roomOf(room), id, { urgent: isUrgent(haste) }),
        )
      }),
  },

  burst: {
    weight: 6,
    run: (world, [place, room, count]) =>
      withNode(world, place, (node) => {
        for (let i = 0; i < 1 + (count % MOST_BURST); i++) {
          // Long enough to congest the connection of a client that does not read.
          const send = (id: string) => node.hub.broadcastToRoom(roomOf(room), `${id} ${'.'.repeat(100)}`)
          node.publish({ scope: 'room', rooms: [roomOf(room)] }, send)
        }
      }),
  },

  sendToUnion: {
    weight: 3,
    run: (world, [place, first, count]) =>
      withNode(world, place, (node) => {
        const rooms = ROOMS.map((_room, i) => roomOf(first + i)).slice(0, 2 + (count % 2))
        node.publish({ scope: 'union', rooms }, (id) => node.hub.broadcastToRoom(rooms, id))
      }),
  },

  burstToUnion: {
    weight: 3,
    run: (world, [place, first, count]) =>
      withNode(world, place, (node) => {
        const rooms = [roomOf(first), roomOf(first + 1)]
        if (count % 2 === 0) slowMessage(world, node, roomOf(first))
        for (let i = 0; i < count % MOST_UNIONS; i++) {
          node.publish({ scope: 'union', rooms }, (id) => node.hub.broadcastToRoom(rooms, id))
        }
      }),
  },

  sendToAll: {
    weight: 3,
    run: (world, [place, haste]) =>
      withNode(world, place, (node) => {
        node.publish({ scope: 'everyone' }, (id) => node.hub.broadcast(id, { urgent: isUrgent(haste) }))
      }),
  },

  sendExcept: {
    weight: 3,
    run: (world, [place, room, client]) => {
      const session = world.sessionOf(client)
      if (session === undefined) return
      withNode(world, place, (node) => {
        const message = { scope: 'room', rooms: [roomOf(room)], exceptIds: [session.name] } as const
        node.publish(message, (id) => node.hub.broadcastToRoomExcept(roomOf(room), id, session.id))
      })
    },
  },

  sendExceptRoom: {
    weight: 2,
    run: (world, [place, room]) =>
      withNode(world, place, (node) => {
        const exceptRooms = [roomOf(room + 1)]
        const message = { scope: 'room', rooms: [roomOf(room)], exceptRooms } as const
        node.publish(message, (id) => node.hub.broadcastToRoom(roomOf(room), id, { exceptRooms }))
      }),
  },

  sendToOne: {
    weight: 4,
    run: (world, [place, client, haste]) => {
      const session = world.sessionOf(client)
      if (session === undefined) return
      withNode(world, place, (node) => {
        node.publish({ scope: 'direct', to: session.name }, (id) =>
          node.hub.sendTo(session.id, id, { urgent: isUrgent(haste) }),
        )
      })
    },
  },

  say: {
    weight: 3,
    run: (world, [client, room]) => world.clients[client % world.clients.length]?.send(roomOf(room)),
  },

  mark: {
    weight: 3,
    run: (world, [place, room, haste]) =>
      withNode(world, place, (node) => {
        if (haste % 2 === 0) slowMessage(world, node, roomOf(room))
        const name = world.ledger.call(node.name)
        world.call(node, name, node.hub.cluster.call('mark', name))
      }),
  },

  count: {
    weight: 1,
    run: (world, [place, room]) =>
      withNode(world, place, (node) => {
        world.call(node, 'roomSize', node.hub.cluster.roomSize(roomOf(room)))
      }),
  },

  wait: { weight: 4, run: () => {} },
} satisfies Readonly<Record<string, StepKind>>

/** The kinds of steps. A new one needs an entry here, and its rules in a ledger. */
export const STEPS = { ...CLUSTER_STEPS, ...HISTORY_STEPS, ...PRESENCE_STEPS }

export type StepName = keyof typeof STEPS

/** Picks one of the rooms in which a connection is. */
function joinedRoom(session: Session, pick: number): string | undefined {
  const rooms = ROOMS.filter((room) => membershipOf(session, room) !== undefined)
  return rooms[pick % rooms.length]
}

function roomOf(pick: number): string {
  return ROOMS[pick % ROOMS.length] ?? ROOMS[0]
}

/**
 * Sends a message to a room that takes long, so that the next ones to the room come late as well. In other
 * weather, some take long anyway.
 */
function slowMessage(world: World, node: Node, room: string): void {
  const { engine } = world
  if (engine.weather !== CALM) return
  engine.weather = { ...CALM, delayMs: MOST_SLOW_MS }
  node.publish({ scope: 'room', rooms: [room] }, (id) => node.hub.broadcastToRoom(room, id))
  engine.weather = CALM
}

/** Returns whether a message does not wait for others, which one in four does not. */
function isUrgent(pick: number): boolean {
  return pick % 4 === 0
}
