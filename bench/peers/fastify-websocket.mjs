// @fastify/websocket with a loop over its clients, as in its README.

import { createRequire } from 'node:module'
import websocket from '@fastify/websocket'
import Fastify from 'fastify'
import { serve } from '../servers/serve.mjs'

const app = Fastify()

serve({
  version: createRequire(import.meta.url)('@fastify/websocket/package.json').version,

  async listen() {
    await app.register(websocket)
    app.get('/', { websocket: true }, () => {})
    await app.listen({ port: 0, host: '127.0.0.1', backlog: 4096 })
    return app.server.address().port
  },

  broadcast(_room, text) {
    for (const client of app.websocketServer.clients) if (client.readyState === 1) client.send(text)
  },
})
