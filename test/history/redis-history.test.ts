import { createClient as createClient5 } from 'redis5'
import { afterAll, afterEach, beforeAll, describe, it } from 'vitest'
import { redisHistory } from 'wshub/redis'
import { historyContract } from 'wshub/testing/history'
import { WAIT_MS } from '../support/in-time.ts'
import { Cable, type Engine, redis, startRedis } from '../support/servers.ts'

describe('redisHistory', () => {
  let engine: Engine
  let cable: Cable
  let url: string

  beforeAll(async () => {
    engine = await startRedis()
    cable = await Cable.to(engine.port)
    url = `redis://127.0.0.1:${cable.port}`
  })

  afterEach(() => cable.restore())

  afterAll(async () => {
    await cable?.close()
    await engine?.stop()
  })

  const makers = {
    'of a URL': () => redisHistory({ url, timeoutMs: WAIT_MS }),
    'of a client of node-redis 5': () => redisHistory({ client: createClient5({ url }), timeoutMs: WAIT_MS }),
  }
  describe.each(Object.entries(makers))('%s', (_name, create) => {
    const contract = historyContract({
      // The first store is made to look at, before the engine is there.
      create: () => (url === undefined ? redisHistory({ url: 'redis://127.0.0.1:1' }) : create()),
      cut: () => cable.cut(),
      restore: () => cable?.restore(),
      evict: async () => void (await redis(engine.port, 'FLUSHALL')),
      timeoutMs: WAIT_MS,
    })
    for (const { name, run } of contract) it(name, run)
  })
})
