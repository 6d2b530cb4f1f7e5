// wshub, built (`npm run build`), on a plain node:http server.

import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { Hub, memoryHistory } from 'wshub'
import { listenOnLoopback, roomsOf, serve } from './serve.mjs'

let hub

serve({
  version: createRequire(import.meta.url)('wshub/package.json').version,

  async listen({ answer, compression, history, writeDelayMs }) {
    hub = new Hub({
      maxConnections: 20_000,
      enableCompression: compression,
      writeDelayMs,
      // The stamp costs what one costs, but the clients get what was sent.
      ...(history && { history: { store: memoryHistory(), rooms: () => ({}), stamp: (data) => data } }),
    })
    const server = createServer()
    hub.attach(server)
    const handler = handlerFor(answer)
    server.on('request', async (request) => {
      const rooms = roomsOf(request.url)
      const connection = await hub.upgrade(request, handler)
      for (const room of rooms) hub.joinRoom(connection, room)
    })
    return listenOnLoopback(server)
  },

  broadcast: (room, text) => hub.broadcastToRoom(room, text),
})

function handlerFor(answer) {
  if (answer === 'echo') return { onMessage: (connection, message) => void connection.sendText(message.data) }
  if (answer === 'broadcast')
    return { onMessage: (_, message) => void hub.broadcastToRoom('0', message.data) }
  return {}
}
