import { createCluster } from 'redis'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { redisHistory } from 'wshub/redis'
import { historyContract } from 'wshub/testing/history'
import { WAIT_MS } from '../support/in-time.ts'
import { Cable, type Engine, redis, startRedisCluster } from '../support/servers.ts'

describe('redisHistory of a Redis Cluster', () => {
  let engines: Engine[] = []
  let cables: Cable[] = []

  beforeAll(async () => {
    engines = await startRedisCluster()
    cables = await Promise.all(engines.map(({ port }) => Cable.to(port)))
  })

  afterEach(() => {
    for (const cable of cables) cable.restore()
  })

  afterAll(async () => {
    await Promise.all(cables.map((cable) => cable.close()))
    await Promise.all(engines.map((engine) => engine.stop()))
  })

  // Made once and duplicated: node-redis makes a class of 500 methods for other options. Its type is
  // inferred, since the compiler needs as long to compare two of them as for the rest of the project.
  const pattern = createCluster({
    minimizeConnections: true,
    rootNodes: [{ url: 'redis://127.0.0.1:1' }],
    nodeAddressMap: (address) => {
      const index = engines.findIndex(({ port }) => address === `127.0.0.1:${port}`)
      return { host: '127.0.0.1', port: cables[index]?.port ?? 0 }
    },
  })
  const create = () => {
    const rootNodes = cables.map(({ port }) => ({ url: `redis://127.0.0.1:${port}` }))
    return redisHistory({ client: pattern.duplicate({ rootNodes }), timeoutMs: WAIT_MS })
  }

  const contract = historyContract({
    create,
    cut: () => cables.forEach((cable) => void cable.cut()),
    restore: () => cables.forEach((cable) => void cable.restore()),
    evict: async () => {
      await Promise.all(engines.map(({ port }) => redis(port, 'FLUSHALL')))
    },
    timeoutMs: WAIT_MS,
  })
  for (const { name, run } of contract) it(name, run)

  it('spreads the rooms over the servers, and publishes on the shard of each', async () => {
    const store = create()
    const received: string[] = []
    await store.start({
      onMessage: (_room, { record }) => void received.push(record.toString()),
      onStateChange() {},
      onError() {},
    })
    try {
      const rooms = Array.from({ length: 60 }, (_, index) => `spread ${index}`)
      await Promise.all(rooms.map((room) => store.subscribe(room)))
      const limits = { maxMessages: 10, maxAgeMs: 60_000 }
      await Promise.all(rooms.map((room) => store.append(room, Buffer.from(room), limits)))
      await store.read('spread 0', { maxMessages: 1, maxBytes: 1 }, limits)
      const sizes = await Promise.all(engines.map(async ({ port }) => Number(await redis(port, 'DBSIZE'))))
      expect(Math.min(...sizes)).toBeGreaterThan(0)
      await expect.poll(() => received.length, { timeout: WAIT_MS }).toBe(rooms.length)
      expect(received.toSorted()).toEqual(rooms.toSorted())
    } finally {
      await store.close()
    }
  })
})
