import { Cable, type Engine, redis, redisClusterFormed, startRedisCluster } from '../support/servers.ts'
import { RemoteHub } from './remote-hub.ts'
import { engineSuite } from './suite.ts'

let engines: Engine[] = []
let cables: Cable[] = []

engineSuite('several hubs over a Redis Cluster', {
  async start() {
    // A small buffer for a node that does not read.
    engines = await startRedisCluster({ args: ['--client-output-buffer-limit', 'pubsub 1mb 0 0'] })
    cables = await Promise.all(engines.map(({ port }) => Cable.to(port)))
  },
  async stop() {
    await Promise.all(cables.map((cable) => cable.close()))
    await Promise.all(engines.map((engine) => engine.stop()))
  },
  launch: (which) =>
    RemoteHub.launch(which, {
      engine: 'redis-cluster',
      ways: engines.map(({ port }, index) => [port, which === 'far' ? (cables[index]?.port ?? 0) : port]),
    }),
  areProcesses: true,
  outages: {
    'pauses its clients': {
      begin: () => Promise.all(engines.map(({ port }) => redis(port, 'CLIENT', 'PAUSE', '1500', 'ALL'))),
      end: () => Promise.all(engines.map(({ port }) => redis(port, 'PING'))),
      hits: 'none',
    },
    'cannot be reached by one node': {
      begin: () => cables.forEach((cable) => void cable.cut()),
      end: () => cables.forEach((cable) => void cable.restore()),
      hits: 'far',
    },
    'is killed, all masters, and started again': {
      begin: () => Promise.all(engines.map((engine) => engine.kill())),
      async end() {
        await Promise.all(engines.map((engine) => engine.start()))
        await redisClusterFormed(engines)
      },
      hits: 'all',
      isLong: true,
    },
  },
})
