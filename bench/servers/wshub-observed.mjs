// wshub with its metrics at /metrics, which can be added and removed while the server runs: two processes of
// the same program differ by more than the metrics may cost.

import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { Registry } from 'prom-client'
import { Hub } from 'wshub'
import { inspector } from 'wshub/inspector'
import { hubMetrics } from 'wshub/prometheus'
import { listenOnLoopback, roomsOf, serve } from './serve.mjs'

const hub = new Hub({ maxConnections: 20_000 })
const register = new Registry()
let unmount

serve({
  version: createRequire(import.meta.url)('wshub/package.json').version,

  async listen() {
    const server = createServer(async (request, response) => {
      if (request.url === '/metrics') {
        response.setHeader('Content-Type', register.contentType).end(await register.metrics())
        return
      }
      const rooms = roomsOf(request.url)
      const connection = await hub.upgrade(request, {})
      for (const room of rooms) hub.joinRoom(connection, room)
    })
    hub.attach(server)
    return listenOnLoopback(server)
  },

  broadcast: (room, text) => hub.broadcastToRoom(room, text),

  calls: {
    mount() {
      unmount ??= hubMetrics(hub, { register })
    },

    /** Adds an inspector that nobody looks at. It stays. */
    inspect() {
      inspector(hub, { authorize: () => true })
    },

    unmount() {
      unmount?.()
      unmount = undefined
    },

    /** Reads all metrics `count` times, and resolves with the CPU time of each, in ms. */
    async scrape({ count }) {
      const costsMs = []
      for (let each = 0; each < count; each++) {
        const before = process.cpuUsage()
        await register.metrics()
        const { user, system } = process.cpuUsage(before)
        costsMs.push((user + system) / 1_000)
      }
      return costsMs
    },
  },
})
