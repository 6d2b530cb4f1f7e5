// wshub, built: all nodes of a cluster in one process, over an engine in memory that counts what it carries,
// with connections that have no sockets.

import { createRequire } from 'node:module'
import { Hub, MemoryBackplane, MemoryBus } from 'wshub'
import { seededRandom } from './payload.mjs'
import { QuietSocket } from './quiet-socket.mjs'
import { serve } from './serve.mjs'
import { spread } from './spread.mjs'

/** The rooms that are filled in a turn. */
const ROOMS_PER_TURN = 20
/** The users who are away at a time while users come and go, at most. */
const MOST_AWAY = 50
/** Turns after which a user may come back: a leave and a join of one turn would be no change. */
const AWAY_TURNS = 3
/** Turns in which what was published arrives and is answered. */
const TURNS_PER_BATCH = 4

const traffic = { messagesIn: 0, bytesIn: 0, messagesOut: 0, bytesOut: 0 }

class CountingBackplane extends MemoryBackplane {
  start(listener) {
    return super.start({
      onMessage(channel, bytes) {
        traffic.messagesOut++
        traffic.bytesOut += channel.length + bytes.length
        listener.onMessage(channel, bytes)
      },
      onStateChange: (state) => listener.onStateChange(state),
      onError: (error) => listener.onError(error),
    })
  }

  publish(channel, bytes) {
    const isSent = super.publish(channel, bytes)
    if (isSent) {
      traffic.messagesIn++
      traffic.bytesIn += channel.length + bytes.length
    }
    return isSent
  }
}

const random = seededRandom(7)
const entries = []
let hubs = []
let filled = 0

serve({
  version: createRequire(import.meta.url)('wshub/package.json').version,

  async listen({ nodes, connections, beatMs }) {
    const bus = new MemoryBus()
    hubs = Array.from({ length: nodes }, () => {
      return new Hub({
        maxConnections: connections,
        pingIntervalMs: 0,
        backplane: new CountingBackplane(bus),
        // All nodes share a thread, so one that fills rooms keeps the others from answering.
        cluster: {
          heartbeatIntervalMs: beatMs,
          heartbeatTimeoutMs: 120_000,
          callTimeoutMs: 60_000,
          onGap: fail,
        },
        onError: fail,
        presence: {
          rooms: () => 'members',
          user: (connection) => connection.getMetadata('user'),
          info: (connection) => connection.getMetadata('name'),
          leaveGraceMs: 1_000,
          onChange: () => {},
        },
      })
    })
    await Promise.all(hubs.map((hub) => hub.cluster.ready()))
    return 0
  },

  calls: {
    /** Fills further rooms, each with as many connections of each node. */
    async fill({ rooms, perNode }) {
      for (let done = 0; done < rooms; ) {
        for (const end = Math.min(rooms, done + ROOMS_PER_TURN); done < end; done++) {
          const room = `room-${number(filled++, 5)}`
          for (const hub of hubs) {
            for (let index = 0; index < perNode; index++) {
              const entry = { hub, room, user: `u${number(entries.length, 9)}`, connection: undefined }
              enter(entry)
              entries.push(entry)
            }
          }
        }
        await turns(TURNS_PER_BATCH)
      }
    },

    /** Users leave their rooms and join them again later: `changes` of both together, an even number. */
    async churn({ changes, seconds }) {
      const away = []
      const most = Math.min(MOST_AWAY, changes / 2)
      let waits = 0
      await spread(changes, seconds, async (index) => {
        const isLeaving = index < most || (index < changes - most && away.length < most)
        if (isLeaving) {
          let entry
          do entry = entries[Math.floor(random() * entries.length)]
          while (entry.connection === undefined)
          entry.connection.terminate()
          entry.connection = undefined
          away.push({ entry, since: waits })
          return
        }
        const { entry, since } = away.shift()
        if (since === waits) {
          waits++
          await turns(AWAY_TURNS)
        }
        enter(entry)
      })
    },

    /** The number of nodes that know of all users, and of all nodes. */
    complete: () =>
      hubs.filter((hub) => {
        const { members } = hub.stats().presence
        return hub.cluster.stats().nodes === hubs.length && members === entries.length
      }).length,

    traffic: () => traffic,
    repairs: () => hubs.reduce((sum, hub) => sum + hub.stats().presence.repairs, 0),
  },
})

async function turns(count) {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}

function enter(entry) {
  const { hub, room, user } = entry
  const metadata = { user, name: user.slice(2) } // 10 bytes as JSON
  entry.connection = hub.register(new QuietSocket(), {}, { metadata })
  hub.joinRoom(entry.connection, room)
}

function number(value, digits) {
  return String(value).padStart(digits, '0')
}

function fail(reason) {
  setImmediate(() => {
    throw reason instanceof Error ? reason : new Error(`messages were lost: ${JSON.stringify(reason)}`)
  })
}
