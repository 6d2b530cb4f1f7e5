// Socket.IO with its connection state recovery, in memory or over Redis Streams, or without it.

import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { createAdapter } from '@socket.io/redis-streams-adapter'
import { createClient } from 'redis'
import { Server } from 'socket.io'
import { listenOnLoopback, serve } from '../servers/serve.mjs'

const ROOM = '0'
let io

serve({
  version: createRequire(import.meta.url)('socket.io/package.json').version,

  async listen({ redis, recovery }) {
    const server = createServer()
    io = new Server(server, {
      transports: ['websocket'],
      serveClient: false,
      ...(recovery && { connectionStateRecovery: { maxDisconnectionDuration: 120_000 } }),
      ...(redis && { adapter: await streamsAdapter(redis) }),
    })
    io.on('connection', (socket) => {
      if (!socket.recovered) socket.join(ROOM)
    })
    return listenOnLoopback(server)
  },

  async publish(text) {
    io.to(ROOM).emit('m', text)
  },
})

async function streamsAdapter(url) {
  const client = createClient({ url })
  client.on('error', () => {}) // it reconnects
  await client.connect()
  return createAdapter(client)
}
