import { createClient, createClientPool, createSentinel, type RedisClientType } from 'redis'
import { createClient as createClient5 } from 'redis5'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { Hub } from 'wshub'
import { redisBackplane } from 'wshub/redis'
import { backplaneContract } from 'wshub/testing/backplane'
import { collectGarbage } from '../support/garbage.ts'
import { eventually, Journal, thrownBy, turn } from '../support/hub-server.ts'
import { until, WAIT_MS } from '../support/in-time.ts'
import { Cable, type Engine, redis, startRedis } from '../support/servers.ts'
import { SilentServer } from '../support/silent-server.ts'
import { flows, Node } from './node.ts'
import { serverCases } from './server-cases.ts'

const closers = {
  'of a URL': (port: number) => redisBackplane({ url: `redis://127.0.0.1:${port}` }),
  'of a client of node-redis 5': (port: number) =>
    redisBackplane({ client: createClient5({ url: `redis://127.0.0.1:${port}` }) }),
}

/** Resolves when a Redis has no connection but the one that asks. */
async function onlyOneClient(port: number): Promise<void> {
  let clients: string[] = []
  await until(
    'all clients to leave',
    async () => {
      clients = (await redis(port, 'CLIENT', 'LIST')).trim().split('\n')
      return clients.length === 1
    },
    () => clients,
  )
}

describe('redisBackplane', () => {
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
    'of a URL': () => redisBackplane({ url }),
    'of a client of node-redis 6 that speaks RESP2': () =>
      redisBackplane({ client: createClient({ url, RESP: 2 }) }),
    'of a client of node-redis 5': () => redisBackplane({ client: createClient5({ url }) }),
    'of a client of node-redis 5 that speaks RESP3': () =>
      redisBackplane({ client: createClient5({ url, RESP: 3 }) }),
  }
  describe.each(Object.entries(makers))('%s', (_name, create) => {
    const contract = backplaneContract({
      create,
      cut: () => cable.cut(),
      restore: () => cable.restore(),
      timeoutMs: WAIT_MS,
    })
    for (const { name, run } of contract) it(name, run)
  })

  const start = () => Node.start(redisBackplane({ url }))

  describe('what it asks of Redis', () => {
    it('is one command for all channels that are subscribed or unsubscribed in one turn', async () => {
      const { backplane } = await start()
      await redis(engine.port, 'CONFIG', 'RESETSTAT')
      const channels = Array.from({ length: 500 }, (_, index) => `turn.${index}`)
      await Promise.all(channels.map((channel) => backplane.subscribe(channel)))
      for (const channel of channels) backplane.unsubscribe(channel)
      await backplane.subscribe('marker')
      const stats = await redis(engine.port, 'INFO', 'commandstats')
      expect(stats).toContain('cmdstat_subscribe:calls=2,')
      expect(stats).toContain('cmdstat_unsubscribe:calls=1,')
    })

    it('is nothing for a channel that is subscribed and unsubscribed in one turn', async () => {
      const { backplane } = await start()
      await redis(engine.port, 'CONFIG', 'RESETSTAT')
      void backplane.subscribe('come.and.gone')
      backplane.unsubscribe('come.and.gone')
      await turn()
      await backplane.subscribe('marker')
      const stats = await redis(engine.port, 'INFO', 'commandstats')
      expect(stats).toContain('cmdstat_subscribe:calls=1,')
      expect(stats).not.toContain('cmdstat_unsubscribe')
    })

    it('is a few packets for everything published in one turn', async () => {
      const node = await start()
      await node.backplane.subscribe('packets')
      await redis(engine.port, 'CONFIG', 'RESETSTAT')
      for (let index = 0; index < 1_000; index++) expect(node.publish('packets', `${index}`)).toBe(true)
      await node.heard('packets', '999')
      const stats = await redis(engine.port, 'INFO', 'stats')
      expect(Number(/total_reads_processed:(\d+)/.exec(stats)?.[1])).toBeLessThan(50)
      expect(await redis(engine.port, 'INFO', 'commandstats')).toContain('cmdstat_publish:calls=1000,')
    })

    it('is bytes, under the name of the channel', async () => {
      const node = await start()
      const bytes = Buffer.from(Uint8Array.from({ length: 256 }, (_, value) => value))
      const other = await plainClient()
      const heard = new Promise<Buffer>((resolve) => void other.subscribe('from.us', resolve, true))
      await eventually(
        'the subscription',
        () => other.isPubSubActive,
        () => '',
      )
      await redis(engine.port, 'PING')
      node.backplane.publish('from.us', bytes)
      expect((await heard).equals(bytes)).toBe(true)

      await node.backplane.subscribe('from.them')
      await redis(engine.port, 'PUBLISH', 'from.them', 'plain')
      await node.heard('from.them', 'plain')
    })
  })

  describe('the client it is given', () => {
    it('need not be connected, and stays unconnected', async () => {
      const client = createClient({ url })
      const node = await Node.start(redisBackplane({ client }))
      await node.backplane.subscribe('mine')
      await flows([node], 'mine', 'hello')
      expect(client.isOpen).toBe(false)
    })

    it('is not changed', async () => {
      const client = await plainClient()
      const node = await Node.start(redisBackplane({ client }))
      await node.backplane.subscribe('mine')
      await flows([node], 'mine', 'hello')
      await node.backplane.close()
      expect(client.isPubSubActive).toBe(false)
      expect(await client.ping()).toBe('PONG')
    })
  })

  describe.each(Object.entries(closers))('that is closed, %s,', (_name, create) => {
    it('leaves no connection when it is closed while it connects', async () => {
      const own = await startRedis()
      onTestFinished(() => own.stop())
      for (let turns = 0; turns < 5; turns++) {
        const node = Node.of(create(own.port))
        node.begin().catch(() => {}) // it may have connected just before
        for (let index = 0; index < turns; index++) await turn()
        await node.backplane.close()
      }
      await onlyOneClient(own.port)
    })

    it('leaves no connection when it is closed while Redis does not answer', async () => {
      const silent = await SilentServer.start()
      for (const connections of [0, 2]) {
        const node = Node.of(create(silent.port))
        const started = node.begin()
        await silent.accepts(connections)
        await node.backplane.close()
        await expect(started).rejects.toThrow('closed')
        await silent.isLeft()
      }
    })
  })

  describe('a configuration that can never work', () => {
    it('throws if an option is missing, wrong or unknown', () => {
      const invalid = expect.objectContaining({ code: 'WSHUB_ERR_INVALID_OPTION' })
      expect(thrownBy(() => redisBackplane({ url: 'http://127.0.0.1' }))).toEqual(invalid)
      expect(thrownBy(() => redisBackplane({ url, maxPendingBytes: 0 }))).toEqual(invalid)
      // @ts-expect-error neither a URL nor a client
      expect(thrownBy(() => redisBackplane({}))).toEqual(invalid)
      // @ts-expect-error no such option
      expect(thrownBy(() => redisBackplane({ url, maxPendingByte: 1 }))).toEqual(invalid)
    })

    it('throws if the client is not from node-redis 5 or 6, or is a pool', () => {
      const name = { name: 'main', sentinelRootNodes: [{ host: '127.0.0.1', port: 1 }] }
      // The methods that ioredis and node-redis 4 have.
      const ioredis = { duplicate() {}, subscribe() {}, ssubscribe() {}, disconnect() {}, slots: [] }
      const redis4 = { duplicate() {}, subscribe() {}, sSubscribe() {}, disconnect() {} }
      for (const client of [ioredis, redis4, createSentinel(name), createClientPool(), null, 'redis']) {
        // @ts-expect-error clients of other kinds
        expect(thrownBy(() => redisBackplane({ client }))).toMatchObject({
          code: 'WSHUB_ERR_INVALID_OPTION',
          message: expect.stringMatching(/^client must be made by .* of node-redis 5 or 6/),
        })
      }
    })

    it('rejects the start if the password is wrong, and a hub tells why', async () => {
      const guarded = await startRedis('--requirepass', 'right')
      onTestFinished(() => guarded.stop())
      const at = (password: string) =>
        redisBackplane({ url: `redis://:${password}@127.0.0.1:${guarded.port}` })
      const node = Node.of(at('wrong'))
      await expect(node.begin()).rejects.toThrow(/WRONGPASS/)
      expect(node.backplane.state).toBe('closed')
      const faults = new Journal<Error>()
      const hub = new Hub({ backplane: at('wrong'), onError: (error) => faults.push(error) })
      onTestFinished(async () => void (await hub.close()))
      await expect(hub.cluster.ready()).rejects.toThrow(/WRONGPASS/)
      expect(faults.all.map(({ message }) => message)).toEqual([expect.stringMatching(/WRONGPASS/)])
      const admitted = await Node.start(at('right'))
      await admitted.backplane.subscribe('admitted')
      await flows([admitted], 'admitted', 'hello')
    })
  })

  it('rejects only the subscriptions that Redis does not allow', async () => {
    const limited = await startRedis()
    onTestFinished(() => limited.stop())
    const rules = ['on', 'nopass', '+@all', 'resetchannels', '&wshub:test:*', '&mine.*']
    await redis(limited.port, 'ACL', 'SETUSER', 'limited', ...rules)
    const node = await Node.start(redisBackplane({ url: `redis://limited:any@127.0.0.1:${limited.port}` }))
    const [mine, theirs] = ['mine.room', 'theirs.room'].map((channel) => node.backplane.subscribe(channel))
    await expect(theirs).rejects.toThrow('NOPERM')
    await mine
    await flows([node], 'mine.room', 'hello')
    expect(node.errors.all.map(({ message }) => message)).toEqual([expect.stringContaining('NOPERM')])
    expect(node.states.all).toEqual(['connected'])
  })

  describe('when Redis', () => {
    serverCases({
      startEngine: () => startRedis(),
      create: (port, options) => redisBackplane({ url: `redis://127.0.0.1:${port}`, ...options }),
      cable: () => cable,
    })

    it('does not answer until the hub is closed, its onError gets the number of messages', async () => {
      const frozen = await startRedis()
      onTestFinished(() => frozen.stop())
      const errors: Error[] = []
      const hub = new Hub({
        backplane: redisBackplane({ url: `redis://127.0.0.1:${frozen.port}` }),
        onError: (error) => void errors.push(error),
      })
      await hub.cluster.ready()
      frozen.freeze()
      for (let index = 0; index < 100; index++) hub.broadcastToRoom('room', `${index}`)
      await hub.close({ timeoutMs: 1 })
      const lost = errors.find((error) => Object(error).code === 'WSHUB_ERR_NOT_PUBLISHED')
      expect(Number(/^(\d+) messages for /.exec(lost?.message ?? '')?.[1])).toBeGreaterThanOrEqual(100)
    })

    it('pauses its clients, the waiting messages arrive once and in order', async () => {
      const nodes = [await start(), await start()]
      const [one, two] = nodes
      if (one === undefined || two === undefined) throw new Error('no nodes')
      await two.backplane.subscribe('paused')
      await redis(engine.port, 'CLIENT', 'PAUSE', '1500', 'ALL')
      const expected = Array.from({ length: 200 }, (_, index) => `paused: ${index}`)
      for (const index of expected.keys()) expect(one.publish('paused', `${index}`)).toBe(true)
      await two.heard('paused', '199')
      expect(two.messages.all).toEqual(expected)
      for (const { states } of nodes) expect(states.all).toEqual(['connected'])
    })

    it('drops only the subscribers, everything is subscribed again', async () => {
      const nodes = [await start(), await start()]
      for (const { backplane } of nodes) await backplane.subscribe('dropped')
      await redis(engine.port, 'CLIENT', 'KILL', 'TYPE', 'pubsub')
      for (const node of nodes) await node.states.first('the drop', (state) => state === 'reconnecting')
      for (const node of nodes) await node.became('connected')
      await flows(nodes, 'dropped', 'after')
    })

    it('is unreachable, nothing is kept of channels that are subscribed and unsubscribed', async () => {
      const node = await start()
      cable.cut()
      await node.became('reconnecting')
      collectGarbage()
      const before = process.memoryUsage().heapUsed
      for (let index = 0; index < 200_000; index++) {
        const channel = `a channel that comes and goes while nobody is there: ${index}`
        void node.backplane.subscribe(channel)
        node.backplane.unsubscribe(channel)
        if (index % 1_000 === 999) await turn()
      }
      collectGarbage()
      expect(process.memoryUsage().heapUsed - before).toBeLessThan(5_000_000)
      void node.backplane.subscribe('kept')
      cable.restore()
      await node.became('connected')
      await eventually(
        'publish() to accept',
        () => node.publish('kept', 'x'),
        () => node.states.all,
      )
      await node.heard('kept', 'x')
    })
  })

  async function plainClient(): Promise<RedisClientType> {
    const client = createClient({ url })
    client.on('error', () => {}) // the promises reject
    onTestFinished(() => client.destroy())
    await client.connect()
    return client as unknown as RedisClientType // the modules that createClient adds are not used
  }
})
