import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe } from 'vitest'
import { MemoryBackplane, MemoryBus } from 'wshub'
import { Primary } from '../support/primary.ts'
import { type Engine, startNats, startRedis, startRedisCluster } from '../support/servers.ts'
import { backplaneOf } from './backplane-spec.ts'
import { ORDER_TRIES, orderCases } from './order-cases.ts'
import { HUB_PROCESS, RemoteHub } from './remote-hub.ts'

/** An engine, and how a hub reaches it. */
interface OrderSetup {
  start(): Promise<() => Promise<RemoteHub>>
  stop(): Promise<unknown>
}

let engines: Engine[] = []
let primary: Primary | undefined
const stopEngines = () => Promise.all(engines.map((engine) => engine.stop()))

const SETUPS: Readonly<Record<string, OrderSetup>> = {
  memory: {
    async start() {
      const bus = new MemoryBus()
      return async () => RemoteHub.local(async () => new MemoryBackplane(bus))
    },
    async stop() {},
  },
  Redis: {
    async start() {
      const engine = await startRedis()
      engines = [engine]
      return async () => RemoteHub.local(() => backplaneOf({ engine: 'redis', port: engine.port }))
    },
    stop: stopEngines,
  },
  'a Redis Cluster': {
    async start() {
      engines = await startRedisCluster()
      const ways = engines.map(({ port }) => [port, port] as const)
      return async () => RemoteHub.local(() => backplaneOf({ engine: 'redis-cluster', ways }))
    },
    stop: stopEngines,
  },
  NATS: {
    async start() {
      const config = fileURLToPath(new URL('./nats.conf', import.meta.url))
      const engine = await startNats('--config', config)
      engines = [engine]
      return async () => RemoteHub.local(() => backplaneOf({ engine: 'nats', ports: [engine.port] }))
    },
    stop: stopEngines,
  },
  'node:cluster': {
    async start() {
      const started = await Primary.start(HUB_PROCESS)
      primary = started
      await started.call('serve')
      return () => RemoteHub.of(started)
    },
    stop: async () => primary?.stop(),
  },
}

describe.for(Object.entries(SETUPS))(
  'a call over %s',
  { timeout: 30_000 + ORDER_TRIES * 1_000 },
  ([, setup]) => {
    let hubs: readonly [RemoteHub, RemoteHub]

    beforeAll(async () => {
      const launch = await setup.start()
      hubs = [await launch(), await launch()]
      for (const hub of hubs) await hub.open()
      for (const hub of hubs) await hub.until('both nodes', ({ stats }) => stats.nodes === 2)
    })

    // Those in this process would look for their engine for as long as other tests run.
    afterAll(async () => {
      for (const hub of hubs ?? []) await hub.call('close')
      await setup.stop()
    })

    orderCases(() => hubs)
  },
)
