import type { Connection } from 'wshub'
import { askFor, HISTORY_ROOMS, type HistoryApp } from './history-app.ts'
import type { Ask } from './history-ledger.ts'
import type { Metadata } from './node.ts'
import { type StepKind, withNode, withSession } from './step-kind.ts'
import type { World } from './world.ts'

const MOST_BURST = 14
/** Most messages that a node publishes around an outage of the store. */
const MOST_PUBLISHES = 8
/** Most messages that a newcomer asks for. */
const MOST_LAST = 6
/** The same for one in five. */
const MOST_LAST_OF_SOME = 40
/** Fewest messages at once for a client that stalls, and how many more there may be. */
const LEAST_FLOOD = 4
const MOST_FLOOD = 20
/** Most messages of a room that was evicted, before its clients come back. */
const MOST_AGAIN = 40
/** Time, in ms, after which no node follows a room that nobody is in. */
const EMPTY_MS = 320
/** Time, in ms, for messages that are under way. */
const WAY_MS = 10
/** Positions that no client was ever given. */
const NO_POSITIONS = ['', 'x', 'x.1', 'AAAAAAAAAAAA.3.0', '"', '9'.repeat(100)] as const

/** Kinds of steps about rooms with a history. */
export const HISTORY_STEPS = {
  resumeRoom: {
    weight: 8,
    run: (world, [client, room, how]) => ask(world, client % world.clients.length, roomOf(room), how),
  },

  /** A client loses its connection, and reconnects at once, perhaps to another node. */
  comeBack: {
    weight: 6,
    run: (world, [client, place, how]) => {
      if (world.upNode(place) === undefined) return
      const at = client % world.clients.length
      world.clients[at]?.drop()
      enter(world, at, place, how)
    },
  },

  /** A client loses its connection, and comes back after a while, perhaps to another node. */
  comeBackLater: {
    weight: 4,
    run: (world, [client, place, how]) => {
      const at = client % world.clients.length
      world.clients[at]?.drop()
      world.clock.post('world', () => enter(world, at, place, how), 50 + (how % 8) * 50)
    },
  },

  /** All clients lose their connections, then the store its latest messages or all, and they return. */
  loseUnseen: {
    weight: 4,
    run: (world, [lost, place, how]) => {
      if (lost % 3 === 1) {
        replaceUnseen(world, lost, place, how)
        return
      }
      const later = (ms: number, act: () => void) => world.clock.post('world', act, ms)
      for (const room of HISTORY_ROOMS.keys()) flood(world, place, room, 1 + (how % 4))
      later(2 * WAY_MS, () => {
        for (const client of world.clients) client?.drop()
      })
      const backMs = 3 * WAY_MS + EMPTY_MS
      later(backMs - WAY_MS, () => {
        const engine = world.history?.engine
        if (lost % 3 === 0) {
          for (const room of HISTORY_ROOMS) engine?.evict(room)
          // As many as there were, about, so that clients come back with numbers that are in use again.
          flood(world, place, how, lost % MOST_AGAIN)
        } else engine?.fail(HISTORY_ROOMS, 1 + (lost % 4))
        engine?.comeBack()
      })
      for (const at of world.clients.keys()) {
        later(backMs + WAY_MS * at, () => enter(world, at, place + (how % 2) * at, how + at))
      }
      // One after the other, so that some have the numbers of those that were lost when a client comes back.
      for (let i = 0; i < how % MOST_FLOOD; i++)
        later(backMs + (lost % WAY_MS) + i, () => flood(world, place, how, 0))
    },
  },

  /** A client that does not read asks for its rooms, and nodes send more to them than may wait for it. */
  stallAsking: {
    weight: 4,
    run: (world, [client, room, how]) => {
      const at = client % world.clients.length
      world.clients[at]?.stall()
      for (const other of HISTORY_ROOMS) ask(world, at, other, how)
      for (let burst = 0; burst < 2 + (how % 4); burst++) {
        const send = () => flood(world, how + burst, room + burst, LEAST_FLOOD + (how % MOST_FLOOD))
        world.clock.post('world', send, WAY_MS * burst)
      }
      world.clock.post('world', () => world.clients[at]?.resume(), (how % 10) * WAY_MS)
    },
  },

  /**
   * A client whose socket takes nothing asks for one room, and a node sends more to its other room than may
   * wait: what was replayed to the client is dropped.
   */
  stallReplayed: {
    weight: 4,
    run: (world, [client, room, how]) => {
      const at = client % world.clients.length
      const later = (ms: number, act: () => void) => world.clock.post('world', act, ms)
      world.clients[at]?.stall()
      withMember(world, client, (app, connection) => {
        app.congest(connection)
        app.join(connection, roomOf(room + 1))
      })
      later(WAY_MS, () => ask(world, at, roomOf(room), how))
      later(2 * WAY_MS, () => flood(world, how, room + 1, MOST_FLOOD))
      later((3 + (how % 5)) * WAY_MS, () => world.clients[at]?.resume())
    },
  },

  joinHistory: {
    weight: 1,
    run: (world, [client, room]) =>
      withMember(world, client, (app, connection) => app.join(connection, roomOf(room))),
  },

  leaveHistory: {
    weight: 2,
    run: (world, [client, room]) =>
      withMember(world, client, (app, connection) => app.leave(connection, roomOf(room))),
  },

  publish: {
    weight: 8,
    run: (world, [place, room]) => withNode(world, place, (node) => void node.app?.publish(roomOf(room))),
  },

  broadcast: {
    weight: 6,
    run: (world, [place, room]) => withNode(world, place, (node) => node.app?.broadcast(roomOf(room))),
  },

  burstHistory: {
    weight: 6,
    run: (world, [place, room, count]) =>
      withNode(world, place, (node) => {
        for (let i = 0; i <= count % MOST_BURST; i++) node.app?.broadcast(roomOf(room))
      }),
  },

  broadcastExcept: {
    weight: 3,
    run: (world, [place, room, client]) => {
      const session = world.sessionOf(client)
      if (session === undefined) return
      withNode(world, place, (node) => node.app?.broadcastExcept(roomOf(room), session.name, session.id))
    },
  },

  readHistory: {
    weight: 2,
    run: (world, [place, room, how]) => {
      const from = fromOf(world, how % world.clients.length, roomOf(room), how)
      withNode(world, place, (node) => node.app?.read(from))
    },
  },

  cutStore: { weight: 2, run: (world, [place]) => withNode(world, place, (node) => node.app?.store.cut()) },
  forgetFeed: {
    weight: 1,
    run: (world, [place, room]) => withNode(world, place, (node) => node.app?.store.forget(room)),
  },
  restoreStore: {
    weight: 5,
    run: (world, [place]) => {
      if (place % 2 === 0) world.history?.engine.comeBack()
      withNode(world, place, (node) => node.app?.store.restore())
    },
  },

  failStore: {
    weight: 1,
    run: (world, [lost]) => world.history?.engine.fail(HISTORY_ROOMS, Math.max(0, (lost % 6) - 2)),
  },

  /** The store cannot be reached for a moment, while all nodes keep publishing. */
  failShortly: {
    weight: 3,
    run: (world, [lost, room, count]) => {
      world.history?.engine.fail(HISTORY_ROOMS, lost % 4)
      world.history?.engine.comeBack()
      for (const { name, app } of world.upNodes()) {
        for (let i = 0; i < 1 + (count % MOST_PUBLISHES); i++) {
          world.clock.post(name, () => app?.broadcast(roomOf(room)), i * 2)
        }
      }
    },
  },

  evict: {
    weight: 1,
    run: (world, [room, place, how]) => {
      world.history?.engine.evict(roomOf(room))
      if (how % 2 === 0) overtake(world, room, place, how)
    },
  },

  stormStore: {
    weight: 3,
    run: (world, [kind, share, delay]) => {
      if (world.history === undefined) return
      const most = (share % 10) / 20
      world.history.engine.weather = {
        delayMs: [2, 10, 40][delay % 3] ?? 2,
        loseFeed: kind % 2 === 0 ? most : 0,
        repeatFeed: kind % 3 === 0 ? most : 0,
        refuse: kind % 5 === 0 ? most : 0,
        forgetReply: kind % 7 === 0 ? most : 0,
      }
    },
  },
} satisfies Readonly<Record<string, StepKind>>

export type HistoryStepName = keyof typeof HISTORY_STEPS

/** Makes a client ask to join a room. */
function ask(world: World, place: number, room: string, how: number): void {
  world.clients[place]?.sendWhenOpen(askFor(fromOf(world, place, room, how)))
}

/** Connects a client to a node, and makes it ask for the rooms that it has a position of. */
function enter(world: World, at: number, place: number, how: number): void {
  const node = world.upNode(place)
  if (node === undefined) return
  world.connect(at, node)
  for (const room of HISTORY_ROOMS) {
    if (world.history?.ledger.sinceOf(at, room) !== undefined) ask(world, at, room, how)
  }
}

/**
 * Makes a node send messages to a room whose history began anew, which the other nodes cannot read at first.
 * Its clients change to one of those.
 */
function overtake(world: World, room: number, place: number, how: number): void {
  const node = world.upNode(place)
  if (node === undefined) return
  const later = (ms: number, act: () => void) => world.clock.post('world', act, ms)
  for (const { app } of world.upNodes()) app?.store.refuse(app !== node.app)
  later(WAY_MS, () => {
    for (const { app } of world.upNodes()) app?.store.refuse(false)
  })
  for (let i = 0; i < MOST_AGAIN; i++) later(2 * i, () => flood(world, place, room, how % 3))
  for (const [at, client] of world.clients.entries()) {
    if (client?.node !== node.name) continue
    later(2 * WAY_MS + (how % MOST_AGAIN), () => {
      client.drop()
      enter(world, at, place + 1, how + at)
    })
  }
}

/**
 * All clients lose their connections, and the store its latest messages, in place of which it gets as many.
 * The clients come back to a node that receives more of them before it can read which ones are stored.
 */
function replaceUnseen(world: World, lost: number, place: number, how: number): void {
  const later = (ms: number, act: () => void) => world.clock.post('world', act, ms)
  const floodAll = (count: number) => {
    for (const room of HISTORY_ROOMS.keys()) flood(world, place, room, count)
  }
  const askOf = (remainder: number) => {
    for (const at of world.clients.keys()) {
      if (at % 2 === remainder) for (const room of HISTORY_ROOMS) ask(world, at, room, how + at)
    }
  }
  askOf(0)
  askOf(1)
  later(WAY_MS, () => floodAll(lost % 4))
  later(3 * WAY_MS, () => {
    for (const client of world.clients) client?.drop()
  })
  const backMs = 4 * WAY_MS + EMPTY_MS
  later(backMs, () => {
    world.history?.engine.fail(HISTORY_ROOMS, 1 + (lost % 4))
    world.history?.engine.comeBack()
  })
  later(backMs + WAY_MS, () => {
    floodAll(lost % 4)
    const node = world.upNode(place + 1)
    if (node === undefined) return
    for (const at of world.clients.keys()) world.connect(at, node)
    node.app?.store.refuse(true)
    later(3 * WAY_MS, () => node.app?.store.refuse(false))
  })
  later(backMs + 3 * WAY_MS, () => askOf(0))
  later(backMs + 5 * WAY_MS, () => {
    floodAll(how % 3)
    askOf(1)
  })
}

/** Makes a node send some messages to a room. */
function flood(world: World, place: number, room: number, count: number): void {
  withNode(world, place, ({ app }) => {
    for (let i = 0; i <= count; i++) app?.broadcast(roomOf(room))
  })
}

/** Returns where the replay to a client begins, which may have a position from another client. */
function fromOf(world: World, place: number, room: string, how: number): Ask {
  const known = world.history?.ledger.sinceOf(place, room)
  const last = 1 + (how % (how % 5 === 0 ? MOST_LAST_OF_SOME : MOST_LAST))
  const kind = how % 11
  if (kind === 0) return { room, since: NO_POSITIONS[how % NO_POSITIONS.length], last }
  if (kind === 1) return { room, since: world.history?.ledger.sinceOf(place, roomOf(how)) }
  if (kind < 4) return { room, last }
  return kind < 7 || known === undefined ? { room, since: known, last } : { room, since: known }
}

function roomOf(pick: number): string {
  return HISTORY_ROOMS[pick % HISTORY_ROOMS.length] ?? HISTORY_ROOMS[0]
}

/** Runs a function with the application of a client's node and its connection there. */
function withMember(
  world: World,
  client: number,
  act: (app: HistoryApp, connection: Connection<Metadata>) => void,
): void {
  withSession(world, client, ({ app, hub }, { id }) => {
    const connection = hub.getConnection(id)
    if (app !== undefined && connection !== undefined) act(app, connection)
  })
}
