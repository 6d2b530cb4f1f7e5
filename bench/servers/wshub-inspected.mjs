// wshub with its inspector at /hub, and a comparison of two hubs of which one has an inspector: two processes
// of the same program differ by more than the inspector may cost.

import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { setImmediate as turn } from 'node:timers/promises'
import { Hub } from 'wshub'
import { inspector } from 'wshub/inspector'
import { QuietSocket } from './quiet-socket.mjs'
import { listenOnLoopback, roomsOf, serve } from './serve.mjs'

/** Connections of each hub before the first reading of the memory. */
const WARM_UP = 200

/** The WebSocket of somebody who reads at once. */
class ReadingSocket extends QuietSocket {
  send(_data, _options, done) {
    process.nextTick(done)
  }
}

serve({
  version: createRequire(import.meta.url)('wshub/package.json').version,

  async listen() {
    const hub = new Hub({ maxConnections: 20_000 })
    const route = inspector(hub, { authorize: () => true })
    const server = createServer(async (request, response) => {
      if (request.url === '/hub') return route(request, response)
      const rooms = roomsOf(request.url)
      const connection = await hub.upgrade(request, {})
      for (const room of rooms) hub.joinRoom(connection, room)
    })
    hub.attach(server)
    return listenOnLoopback(server)
  },

  calls: {
    /**
     * Broadcasts from a hub with an inspector that nobody looks at, and from one without, in turns. Resolves
     * with the CPU time of each round, in µs a delivery, and with the heap of a connection.
     */
    async compare({ rounds, clients, messages }) {
      // In this order, no drift of the process favours either: what was made earlier may be slower.
      const inspected = [false, true, true, false, true, false, false, true]
      const hubs = inspected.map(() => new Hub())
      for (const [n, hub] of hubs.entries()) if (inspected[n]) inspector(hub, { authorize: () => true })
      const cpuMicros = hubs.map(() => [])
      const heapBytes = []
      for (const hub of hubs) {
        for (let n = 0; n < WARM_UP; n++) hub.register(new ReadingSocket(), {})
        const before = await heap()
        for (let n = WARM_UP; n < clients; n++) hub.register(new ReadingSocket(), {})
        heapBytes.push(((await heap()) - before) / (clients - WARM_UP))
      }
      for (let round = -5; round < rounds; round++) {
        for (const which of round % 2 === 0 ? hubs.keys() : [...hubs.keys()].reverse()) {
          const before = process.cpuUsage()
          for (let n = 0; n < messages; n++) {
            hubs[which].broadcast(`message ${n}`)
            await turn()
          }
          const { user, system } = process.cpuUsage(before)
          if (round >= 0) cpuMicros[which].push((user + system) / messages / clients)
        }
      }
      for (const hub of hubs) await hub.close({ timeoutMs: 50 })
      const of = (values, isMeant) => values.filter((_, n) => inspected[n] === isMeant)
      const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length
      const costs = (isMeant) =>
        cpuMicros[0].map((_, round) => mean(of(cpuMicros, isMeant).map((all) => all[round])))
      return {
        cpuMicros: [costs(false), costs(true)],
        heapBytes: [mean(of(heapBytes, false)), mean(of(heapBytes, true))],
      }
    },
  },
})

async function heap() {
  for (let pass = 0; pass < 3; pass++) {
    await turn()
    globalThis.gc()
  }
  return process.memoryUsage().heapUsed
}
