// wshub, built, with a history of its one room, in memory or in Redis. A client says the position of its
// latest message in the query: /?since=…. Each message begins with its position. What begins with ! is from
// the server itself: where a client stands that has no message yet, and whether it has missed something. With
// /?plain a client joins as if there were no history.

import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import { Hub, memoryHistory } from 'wshub'
import { redisBackplane, redisHistory } from 'wshub/redis'
import { makePayload } from './payload.mjs'
import { listenOnLoopback, serve } from './serve.mjs'

const ROOM = '0'
let hub

serve({
  version: createRequire(import.meta.url)('wshub/package.json').version,

  async listen({ redis, maxMessages = 10_000, maxBytesPerRoom, ...options } = {}) {
    hub = new Hub({
      maxConnections: 20_000,
      ...options, // of the hub
      ...(redis && { backplane: redisBackplane({ url: redis }) }),
      history: {
        store: redis ? redisHistory({ url: redis }) : memoryHistory({ maxBytesPerRoom }),
        rooms: () => ({ maxMessages }),
        stamp: (data, { position }) => `${position} ${data}`,
      },
      onError: () => {}, // an engine is killed: what is missing is counted by the clients
    })
    await hub.cluster.ready()
    const server = createServer()
    hub.attach(server)
    const handler = { onBehind: (connection) => void connection.sendText('!missed now') }
    server.on('request', async (request) => {
      const isPlain = request.url.endsWith('?plain')
      const since = /[?&]since=([^&]+)/.exec(request.url)?.[1]
      const connection = await hub.upgrade(request, handler)
      if (isPlain) {
        hub.joinRoom(connection, ROOM)
        return
      }
      try {
        const { complete, replayed, position } = await hub.resumeRoom(connection, ROOM, { since })
        if (!complete) connection.sendText('!missed away')
        if (replayed === 0) connection.sendText(`!at ${position}`)
      } catch {
        connection.close(1013) // the store is away: the client tries again
      }
    })
    return listenOnLoopback(server)
  },

  publish: (text) => hub.publish(ROOM, text),

  calls: {
    /** Resolves with the position of the last message. */
    async publishSome({ first, messages, payloadBytes }) {
      let position
      for (let number = first; number < first + messages; number++) {
        ;({ position } = await hub.publish(ROOM, makePayload(0, number, payloadBytes)))
        if (number % 100 === 99) await sleep(1) // the clients read meanwhile
      }
      return position
    },

    /** Resolves, after so many ms, with the most bytes that waited for a client in that time. */
    async watchBuffered({ ms }) {
      let most = 0
      const timer = setInterval(() => {
        for (const { bufferedBytes } of hub.connections()) most = Math.max(most, bufferedBytes)
      }, 5)
      await sleep(ms)
      clearInterval(timer)
      return most
    },

    /** Resolves when no client is left. */
    async allGone() {
      while (hub.size > 0) await sleep(20)
    },
  },
})
