// Socket.IO over its WebSocket transport. The clients implement the part of its protocol that they need.

import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { Server } from 'socket.io'
import { listenOnLoopback, roomsOf, serve } from '../servers/serve.mjs'

let io

serve({
  version: createRequire(import.meta.url)('socket.io/package.json').version,

  async listen() {
    const server = createServer()
    io = new Server(server, { transports: ['websocket'], serveClient: false })
    io.on('connection', (socket) => socket.join(roomsOf(socket.request.url)))
    return listenOnLoopback(server)
  },

  broadcast: (room, text) => io.to(room).emit('m', text),
})
