import { fileURLToPath } from 'node:url'
import { Cable, type Engine, startNatsCluster } from '../support/servers.ts'
import { RemoteHub } from './remote-hub.ts'
import { engineSuite } from './suite.ts'

let engines: Engine[] = []
let cables: Cable[] = []
let launched = 0

engineSuite('several hubs over a NATS cluster', {
  async start() {
    engines = await startNatsCluster('--config', fileURLToPath(new URL('./nats.conf', import.meta.url)))
    cables = await Promise.all(engines.map(({ port }) => Cable.to(port)))
  },
  async stop() {
    await Promise.all(cables.map((cable) => cable.close()))
    await Promise.all(engines.map((engine) => engine.stop()))
  },
  launch(which) {
    const ports = (which === 'far' ? cables : engines).map(({ port }) => port)
    // Each hub connects to another server.
    const first = launched++ % ports.length
    return RemoteHub.launch(which, {
      engine: 'nats',
      ports: [...ports.slice(first), ...ports.slice(0, first)],
    })
  },
  areProcesses: true,
  outages: {
    'is killed, all servers, and started again': {
      begin: () => Promise.all(engines.map((engine) => engine.kill())),
      end: () => Promise.all(engines.map((engine) => engine.start())),
      hits: 'all',
      isLong: true,
    },
    'stops for a while': {
      begin: () => engines.forEach((engine) => void engine.freeze()),
      end: () => engines.forEach((engine) => void engine.thaw()),
      hits: 'none',
    },
    'cannot be reached by one node': {
      begin: () => cables.forEach((cable) => void cable.cut()),
      end: () => cables.forEach((cable) => void cable.restore()),
      hits: 'far',
    },
  },
})
