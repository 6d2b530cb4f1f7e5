// Type-checked against the installed package, with the clients of the engines beside it. Never run.
import { connect } from '@nats-io/transport-node'
import { createClient, createClientPool, createCluster } from 'redis'
import { type Backplane, MemoryBackplane, MemoryBus } from 'wshub'
import { natsBackplane } from 'wshub/nats'
import { nodeClusterBackplane, serveNodeCluster } from 'wshub/node-cluster'
import { redisBackplane } from 'wshub/redis'
import { backplaneContract } from 'wshub/testing/backplane'

const url = 'redis://localhost'

export const backplanes: Backplane[] = [
  redisBackplane({ url }),
  redisBackplane({ client: createClient({ url }), maxPendingBytes: 1_000_000 }),
  redisBackplane({ client: createClient({ url, RESP: 2 }) }),
  redisBackplane({ client: createCluster({ rootNodes: [{ url }] }) }),
  natsBackplane(),
  natsBackplane({ servers: ['one:4222', 'two:4222'], token: 'secret' }),
  natsBackplane({ connection: await connect() }),
  nodeClusterBackplane(),
  new MemoryBackplane(new MemoryBus()),
]

// @ts-expect-error either a URL or a client
redisBackplane({ url, client: createClient({ url }) })
// @ts-expect-error a pool has no subscriptions
redisBackplane({ client: createClientPool() })
// @ts-expect-error not a connection
natsBackplane({ connection: url })

const stop: () => void = serveNodeCluster({ maxPendingBytes: 1_000_000 })
stop()

for (const { name, run } of backplaneContract({ create: () => natsBackplane() })) console.log(name, run)
