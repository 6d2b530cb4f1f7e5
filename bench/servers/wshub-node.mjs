// wshub, built, as one of several nodes: over Redis or NATS, or as a worker of node:cluster if the argument
// is `primary`.

import nodeCluster from 'node:cluster'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { Hub } from 'wshub'
import { natsBackplane } from 'wshub/nats'
import { nodeClusterBackplane, serveNodeCluster } from 'wshub/node-cluster'
import { redisBackplane } from 'wshub/redis'
import { servePrimary } from './primary.mjs'
import { listenOnLoopback, roomsOf, serve } from './serve.mjs'

if (process.argv[2] === 'primary' && nodeCluster.isPrimary) {
  nodeCluster.setupPrimary({ serialization: 'advanced' })
  serveNodeCluster()
  servePrimary()
} else {
  serveNode()
}

function serveNode() {
  const clients = []
  let hub

  serve({
    version: createRequire(import.meta.url)('wshub/package.json').version,

    async listen({ redis, nats, cluster, writeDelayMs }) {
      const backplane = backplaneOf(redis, nats)
      hub = new Hub({
        maxConnections: 20_000,
        backplane,
        writeDelayMs,
        cluster: { onGap: fail, ...cluster },
        onError: fail,
      })
      await hub.cluster.ready()
      const server = createServer()
      hub.attach(server)
      server.on('request', async (request) => {
        const rooms = roomsOf(request.url)
        const connection = await hub.upgrade(request, {})
        clients.push(connection)
        for (const room of rooms) hub.joinRoom(connection, room)
      })
      return listenOnLoopback(server)
    },

    broadcast: (room, text) => hub.broadcastToRoom(room, text),
    join: (index, room) => hub.joinRoom(clients[index % clients.length], room),
    leave: (index, room) => hub.leaveRoom(clients[index % clients.length], room),

    calls: {
      /** Resolves when the node receives messages that others publish to its rooms. */
      async settle() {
        for (const room of hub.rooms()) await hub.cluster.join({ room }, room)
      },

      stats: () => hub.cluster.stats(),

      /** Asks the other nodes repeatedly, once for each room. */
      async ask({ calls }) {
        for (let call = 0; call < calls; call++) {
          const { missing } = await hub.cluster.roomSize(String(call % 8))
          if (missing.length > 0) throw new Error(`${missing.length} nodes did not answer`)
        }
      },
    },
  })
}

function backplaneOf(redis, nats) {
  if (redis !== undefined) return redisBackplane({ url: redis })
  return nats === undefined ? nodeClusterBackplane() : natsBackplane({ servers: nats })
}

/**
 * A message was lost, or the backplane failed: the run is void. An error thrown synchronously would be caught
 * by the hub.
 */
function fail(reason) {
  setImmediate(() => {
    throw reason instanceof Error ? reason : new Error(`messages were lost: ${JSON.stringify(reason)}`)
  })
}
