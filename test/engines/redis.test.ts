import { Cable, type Engine, redis, startRedis } from '../support/servers.ts'
import { RemoteHub } from './remote-hub.ts'
import { engineSuite } from './suite.ts'

let engine: Engine
let cable: Cable

engineSuite('several hubs over Redis', {
  async start() {
    // A small buffer for a node that does not read.
    engine = await startRedis('--client-output-buffer-limit', 'pubsub 1mb 0 0')
    cable = await Cable.to(engine.port)
  },
  async stop() {
    await cable?.close()
    await engine?.stop()
  },
  launch: (which) =>
    RemoteHub.launch(which, { engine: 'redis', port: which === 'far' ? cable.port : engine.port }),
  areProcesses: true,
  outages: {
    'is killed and started again': {
      begin: () => engine.kill(),
      end: () => engine.start(),
      hits: 'all',
      isLong: true,
    },
    'pauses its clients': {
      begin: () => redis(engine.port, 'CLIENT', 'PAUSE', '1500', 'ALL'),
      end: () => redis(engine.port, 'PING'),
      hits: 'none',
    },
    'hangs, and is given up': { begin: () => engine.freeze(), end: () => engine.thaw(), hits: 'all' },
    'cannot be reached by one node': { begin: () => cable.cut(), end: () => cable.restore(), hits: 'far' },
  },
})
