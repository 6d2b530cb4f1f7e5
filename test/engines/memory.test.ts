import { MemoryBackplane, MemoryBus } from 'wshub'
import { RemoteHub } from './remote-hub.ts'
import { engineSuite } from './suite.ts'

const bus = new MemoryBus()

engineSuite('several hubs in one process', {
  async start() {},
  async stop() {},
  launch: async () => RemoteHub.local(async () => new MemoryBackplane(bus)),
  areProcesses: false,
  outages: {
    'is cut off': { begin: () => bus.cut(), end: () => bus.restore(), hits: 'all' },
  },
})
