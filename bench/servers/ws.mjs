// Bare ws as in its README: a loop over the clients.

import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { WebSocketServer } from 'ws'
import { listenOnLoopback, roomsOf, serve } from './serve.mjs'

let wss
const rooms = new Map()
let membersOf

serve({
  version: createRequire(import.meta.url)('ws/package.json').version,

  async listen({ answer, rooms: roomCount, compression }) {
    const server = createServer()
    wss = new WebSocketServer({ server, perMessageDeflate: compression })
    membersOf = roomCount > 1 ? (room) => rooms.get(room) ?? [] : () => wss.clients
    wss.on('connection', (socket, request) => {
      if (roomCount > 1) for (const room of roomsOf(request.url)) join(socket, room)
      if (answer === 'echo') socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }))
      if (answer === 'broadcast') socket.on('message', (data) => broadcast('0', data.toString()))
    })
    return listenOnLoopback(server)
  },

  broadcast,
})

function broadcast(room, text) {
  for (const client of membersOf(room)) if (client.readyState === 1) client.send(text)
}

function join(socket, room) {
  const members = rooms.get(room) ?? new Set()
  rooms.set(room, members.add(socket))
  socket.on('close', () => members.delete(socket))
}
