// uWebSockets.js and its native publish. The library is released only on GitHub; uws-pack is a copy on npm.

import { readFileSync } from 'node:fs'
import * as uws from 'uws-pack'
import { roomsOf, serve } from '../servers/serve.mjs'

let app

serve({
  version: JSON.parse(readFileSync(new URL('node_modules/uws-pack/package.json', import.meta.url), 'utf8'))
    .version,

  listen({ answer, compression }) {
    app = uws.App()
    app.ws('/*', {
      compression: compressorFor(compression),
      maxBackpressure: 1 << 20,
      upgrade(response, request, context) {
        response.upgrade(
          { rooms: roomsOf(`?${request.getQuery()}`) },
          request.getHeader('sec-websocket-key'),
          request.getHeader('sec-websocket-protocol'),
          request.getHeader('sec-websocket-extensions'),
          context,
        )
      },
      open(socket) {
        for (const room of socket.getUserData().rooms) socket.subscribe(room)
      },
      message(socket, data, isBinary) {
        if (answer === 'echo') socket.send(data, isBinary)
        if (answer === 'broadcast') app.publish('0', data, isBinary, compression !== false)
      },
    })
    return new Promise((resolve, reject) => {
      app.listen('127.0.0.1', 0, (token) =>
        token ? resolve(uws.us_socket_local_port(token)) : reject(new Error('cannot listen')),
      )
    })
  },

  broadcast: (room, text) => app.publish(room, text, false, true),
})

function compressorFor(compression) {
  if (compression === 'DEDICATED_COMPRESSOR') return uws.DEDICATED_COMPRESSOR
  return compression === false ? uws.DISABLED : uws.SHARED_COMPRESSOR
}
