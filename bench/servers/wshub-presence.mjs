// wshub, built, as one of several nodes over Redis whose rooms have presence.

import { createRequire } from 'node:module'
import { Hub } from 'wshub'
import { redisBackplane } from 'wshub/redis'
import { crowdCalls } from './presence-crowd.mjs'
import { QuietSocket } from './quiet-socket.mjs'
import { serve } from './serve.mjs'

const [, , node] = process.argv
let hub

serve({
  version: createRequire(import.meta.url)('wshub/package.json').version,

  async listen({ redis, beatMs }) {
    hub = new Hub({
      maxConnections: 20_000,
      pingIntervalMs: 0,
      backplane: redisBackplane({ url: redis }),
      cluster: { heartbeatIntervalMs: beatMs, heartbeatTimeoutMs: 15_000, onGap: fail },
      onError: fail,
      presence: {
        rooms: () => 'members',
        user: (connection) => connection.getMetadata('user'),
        maxMembersPerRoom: 100_000,
        leaveGraceMs: 1_000,
        onChange: () => {},
      },
    })
    await hub.cluster.ready()
    return 0
  },

  calls: {
    ...crowdCalls(node, {
      enter(user, room) {
        const connection = hub.register(new QuietSocket(), {}, { metadata: { user } })
        hub.joinRoom(connection, room)
        return connection
      },
      exit: (connection) => void connection.terminate(),
    }),

    nodes: () => hub.cluster.stats().nodes,
    count: ({ room }) => hub.presence(room).count,
    presence: () => hub.stats().presence,
  },
})

function fail(reason) {
  setImmediate(() => {
    throw reason instanceof Error ? reason : new Error(`messages were lost: ${JSON.stringify(reason)}`)
  })
}
