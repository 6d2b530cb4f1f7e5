// Bun's own server and its native publish. Runs with the bun binary.

import { roomsOf, serve } from '../servers/serve.mjs'

let server

serve({
  version: Bun.version,

  async listen({ answer, compression }) {
    server = Bun.serve({
      hostname: '127.0.0.1',
      port: 0,
      fetch(request, self) {
        if (self.upgrade(request, { data: roomsOf(request.url) })) return undefined
        return new Response(null, { status: 400 })
      },
      websocket: {
        perMessageDeflate: compression ? { compress: 'shared', decompress: 'shared', ...compression } : false,
        open(socket) {
          for (const room of socket.data) socket.subscribe(room)
        },
        message(socket, data) {
          if (answer === 'echo') socket.send(data)
          if (answer === 'broadcast') server.publish('0', data)
        },
      },
    })
    return server.port
  },

  broadcast: (room, text) => server.publish(room, text, true),
})
