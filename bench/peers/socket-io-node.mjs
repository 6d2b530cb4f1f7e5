// Socket.IO as one of several nodes: with one of the Redis adapters, or as a worker of node:cluster if the
// argument is `primary`. The Redis client is the same as for wshub.

import cluster from 'node:cluster'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { createAdapter as createClusterAdapter, setupPrimary } from '@socket.io/cluster-adapter'
import { createAdapter, createShardedAdapter } from '@socket.io/redis-adapter'
import { createClient } from 'redis'
import { Server } from 'socket.io'
import { servePrimary } from '../servers/primary.mjs'
import { listenOnLoopback, roomsOf, serve } from '../servers/serve.mjs'

if (process.argv[2] === 'primary' && cluster.isPrimary) {
  setupPrimary()
  servePrimary()
} else {
  serveNode()
}

function serveNode() {
  const clients = []
  let io
  let subscriber

  serve({
    version: createRequire(import.meta.url)('socket.io/package.json').version,

    async listen({ redis, isSharded }) {
      const server = createServer()
      io = new Server(server, {
        transports: ['websocket'],
        serveClient: false,
        adapter: redis === undefined ? createClusterAdapter() : await redisAdapter(redis, isSharded),
      })
      io.on('connection', (socket) => {
        clients.push(socket)
        socket.join(roomsOf(socket.request.url))
      })
      return listenOnLoopback(server)
    },

    broadcast: (room, text) => io.to(room).emit('m', text),
    join: (index, room) => clients[index % clients.length].join(room),
    leave: (index, room) => clients[index % clients.length].leave(room),

    calls: {
      /** Resolves when Redis has accepted the subscriptions. */
      async settle() {
        await subscriber?.ping()
      },
    },
  })

  async function redisAdapter(url, isSharded) {
    const publisher = createClient({ url })
    subscriber = publisher.duplicate()
    await Promise.all([publisher.connect(), subscriber.connect()])
    return (isSharded ? createShardedAdapter : createAdapter)(publisher, subscriber)
  }
}
