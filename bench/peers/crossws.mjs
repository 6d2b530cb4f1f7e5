// crossws on node:http and its publish.

import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import crossws from 'crossws/adapters/node'
import { listenOnLoopback, roomsOf, serve } from '../servers/serve.mjs'

let ws

serve({
  version: JSON.parse(readFileSync(new URL('node_modules/crossws/package.json', import.meta.url), 'utf8'))
    .version,

  async listen() {
    ws = crossws({
      hooks: {
        open(peer) {
          for (const room of roomsOf(peer.request.url)) peer.subscribe(room)
        },
      },
    })
    const server = createServer()
    server.on('upgrade', ws.handleUpgrade)
    return listenOnLoopback(server)
  },

  broadcast: (room, text) => ws.publish(room, text),
})
