import { fileURLToPath } from 'node:url'
import { Cable, type Engine, startNats } from '../support/servers.ts'
import { RemoteHub } from './remote-hub.ts'
import { engineSuite } from './suite.ts'

let engine: Engine
let cable: Cable

engineSuite('several hubs over NATS', {
  async start() {
    engine = await startNats('--config', fileURLToPath(new URL('./nats.conf', import.meta.url)))
    cable = await Cable.to(engine.port)
  },
  async stop() {
    await cable?.close()
    await engine?.stop()
  },
  launch: (which) =>
    RemoteHub.launch(which, { engine: 'nats', ports: [which === 'far' ? cable.port : engine.port] }),
  areProcesses: true,
  outages: {
    'is killed and started again': {
      begin: () => engine.kill(),
      end: () => engine.start(),
      hits: 'all',
      isLong: true,
    },
    'stops for a while': { begin: () => engine.freeze(), end: () => engine.thaw(), hits: 'none' },
    'hangs, and is given up': { begin: () => engine.freeze(), end: () => engine.thaw(), hits: 'all' },
    'cannot be reached by one node': { begin: () => cable.cut(), end: () => cable.restore(), hits: 'far' },
  },
})
