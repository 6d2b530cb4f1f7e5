import { createCluster } from 'redis'
import { createCluster as createCluster5 } from 'redis5'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { redisBackplane } from 'wshub/redis'
import { backplaneContract } from 'wshub/testing/backplane'
import { eventually, turn } from '../support/hub-server.ts'
import { until, WAIT_MS } from '../support/in-time.ts'
import { Cable, type Engine, redis, redisAll, startRedis, startRedisCluster } from '../support/servers.ts'
import { SilentServer } from '../support/silent-server.ts'
import { flows, Node } from './node.ts'

/** Enough channels that each of three masters has some. */
const channels = Array.from({ length: 60 }, (_, index) => `room.${index}`)

describe('redisBackplane of a Redis Cluster', () => {
  let engines: Engine[]
  let cables: Cable[]

  beforeAll(async () => {
    engines = await startRedisCluster()
    cables = await Promise.all(engines.map(({ port }) => Cable.to(port)))
  })

  afterEach(() => {
    for (const cable of cables) cable.restore()
  })

  afterAll(async () => {
    await Promise.all([
      ...(cables ?? []).map((cable) => cable.close()),
      ...(engines ?? []).map((engine) => engine.stop()),
    ])
  })

  /** Options for both versions of createCluster: each node is reached through its cable. */
  const options = () => ({
    minimizeConnections: true,
    rootNodes: cables.map(({ port }) => ({ url: `redis://127.0.0.1:${port}` })),
    nodeAddressMap: (address: string) => {
      const index = engines.findIndex(({ port }) => address === `127.0.0.1:${port}`)
      return { host: '127.0.0.1', port: cables[index]?.port ?? 0 }
    },
  })

  // These options are duplicated, as the backplane duplicates them: with options other than the last ones,
  // node-redis creates a class of 500 methods, which takes 50 ms.
  const pattern = once(() => createCluster(options()))
  const pattern5 = once(() => createCluster5(options()))

  const makers = {
    'of node-redis 6': () => redisBackplane({ client: pattern().duplicate() }),
    'of node-redis 5': () => redisBackplane({ client: pattern5().duplicate() }),
  }
  describe.each(Object.entries(makers))('%s', (_name, create) => {
    const contract = backplaneContract({
      create,
      cut: () => cables.forEach((cable) => void cable.cut()),
      restore: () => cables.forEach((cable) => void cable.restore()),
      timeoutMs: WAIT_MS,
    })
    for (const { name, run } of contract) it(name, run)
  })

  const start = () => Node.start(redisBackplane({ client: pattern().duplicate() }))

  async function startThree(): Promise<Node[]> {
    const nodes = [await start(), await start(), await start()]
    await Promise.all(
      nodes.flatMap(({ backplane }) => channels.map((channel) => backplane.subscribe(channel))),
    )
    return nodes
  }

  interface Root {
    readonly url: string
  }
  const closers = {
    'node-redis 6': (rootNodes: Root[]) => redisBackplane({ client: createCluster({ rootNodes }) }),
    'node-redis 5': (rootNodes: Root[]) => redisBackplane({ client: createCluster5({ rootNodes }) }),
  }

  it.each(Object.entries(closers))(
    'leaves no connection when it is closed, connected or not, and has two to each master: %s',
    async (_name, create) => {
      const rootNodes = engines.map(({ port }) => ({ url: `redis://127.0.0.1:${port}` }))
      await eventuallyClients(0) // those of the previous test
      const node = await Node.start(create(rootNodes))
      await eventuallyClients(6)
      await node.backplane.close()
      for (let turns = 0; turns < 20; turns++) {
        const early = Node.of(create(rootNodes))
        early.begin().catch(() => {}) // it may have connected just before
        for (let index = 0; index < turns; index++) await turn()
        await early.backplane.close()
      }
      await eventuallyClients(0)
    },
  )

  it.each(Object.entries(closers))(
    'leaves no connection when it is closed while the first server does not answer: %s',
    async (_name, create) => {
      const silent = await SilentServer.start()
      const rootNodes = [{ url: `redis://127.0.0.1:${silent.port}` }]
      const node = Node.of(create(rootNodes))
      const started = node.begin()
      await silent.accepts(1)
      await node.backplane.close()
      await expect(started).rejects.toThrow('closed')
      await silent.isLeft()
    },
  )

  /** The number of connections to the masters, without the one that asks. */
  async function clients(): Promise<number> {
    const lists = await Promise.all(engines.map(({ port }) => redis(port, 'CLIENT', 'LIST')))
    return lists
      .join('')
      .trim()
      .split('\n')
      .filter((line) => !line.includes('cmd=client|list')).length
  }

  async function eventuallyClients(count: number): Promise<void> {
    let seen = 0
    await until(
      `${count} clients`,
      async () => {
        seen = await clients()
        return seen === count
      },
      () => seen,
    )
  }

  it('spreads the channels over the masters: each message goes through one', async () => {
    const [node] = await startThree()
    for (const { port } of engines) await redis(port, 'CONFIG', 'RESETSTAT')
    for (const channel of channels) node?.publish(channel, 'spread')
    for (const channel of channels) await node?.heard(channel, 'spread')
    const calls = await Promise.all(engines.map(({ port }) => spublishes(port)))
    for (const count of calls) expect(count).toBeGreaterThan(5)
    expect(calls.reduce((sum, count) => sum + count)).toBe(channels.length)
  })

  it('rejects the start if there is no cluster', async () => {
    const single = await startRedis()
    onTestFinished(() => single.stop())
    const client = createCluster({ rootNodes: [{ url: `redis://127.0.0.1:${single.port}` }] })
    await expect(Node.of(redisBackplane({ client })).begin()).rejects.toThrow(/cluster support disabled/)
  })

  it('serves the channels of the other masters while one is down, and all when it is back', async () => {
    const nodes = await startThree()
    const [publisher] = nodes
    engines[1]?.freeze()
    await engines[1]?.kill()
    for (const node of nodes) await node.became('reconnecting')
    const accepted = channels.filter((channel) => publisher?.publish(channel, 'meanwhile'))
    expect(accepted.length).toBeGreaterThan(10)
    expect(accepted.length).toBeLessThan(channels.length - 5)
    for (const node of nodes) for (const channel of accepted) await node.heard(channel, 'meanwhile')

    await engines[1]?.start()
    for (const node of nodes) await node.became('connected')
    for (const channel of channels) await flows(nodes, channel, 'after')
  })

  it('is reconnecting when all are killed, and has everything when they are back', async () => {
    const nodes = await startThree()
    await Promise.all(engines.map((engine) => engine.kill()))
    for (const node of nodes) await node.became('reconnecting')
    await Promise.all(engines.map((engine) => engine.start()))
    for (const node of nodes) await node.became('connected')
    for (const channel of channels) await flows(nodes, channel, 'after')
  })

  it('delivers the messages that waited during a pause, once and in order', async () => {
    const [one, two] = await startThree()
    await Promise.all(engines.map(({ port }) => redis(port, 'CLIENT', 'PAUSE', '1000', 'ALL')))
    const texts = Array.from({ length: 20 }, (_, index) => `paused ${index}`)
    for (const text of texts) for (const channel of channels) expect(one?.publish(channel, text)).toBe(true)
    for (const channel of channels) {
      await two?.heard(channel, 'paused 19')
      const got = two?.messages.all.filter((message) => message.startsWith(`${channel}: `))
      expect(got).toEqual(texts.map((text) => `${channel}: ${text}`))
    }
  })

  it('follows slots that move while messages flow', async () => {
    const nodes = await startThree()
    const owner = await redis(portOf(2), 'CLUSTER', 'MYID')
    const questions = channels.slice(0, 30).map((channel) => ['CLUSTER', 'KEYSLOT', channel])
    const slots = await redisAll(portOf(0), questions)
    const moves = slots.map((slot) => ['CLUSTER', 'SETSLOT', slot, 'NODE', owner])
    for (const { port } of engines) await redisAll(port, moves)
    for (const channel of channels) await eventuallyFlows(nodes, channel)
    for (const node of nodes) await node.became('connected')
    for (const channel of channels) await flows(nodes, channel, 'after')
    expect(await spublishes(portOf(2))).toBeGreaterThan(0)
  })

  function portOf(index: number): number {
    return engines[index]?.port ?? 0
  }
})

describe('redisBackplane of a Redis Cluster with a replica', () => {
  let engines: Engine[]

  beforeAll(async () => {
    engines = await startRedisCluster({ withReplica: true })
  })

  afterAll(() => Promise.all((engines ?? []).map((engine) => engine.stop())))

  it('follows the replica that takes the place of its master', async () => {
    const rootNodes = engines.map(({ port }) => ({ url: `redis://127.0.0.1:${port}` }))
    const start = () => Node.start(redisBackplane({ client: createCluster({ rootNodes }) }))
    const nodes = [await start(), await start()]
    await Promise.all(
      nodes.flatMap(({ backplane }) => channels.map((channel) => backplane.subscribe(channel))),
    )
    await engines[0]?.kill()
    for (const node of nodes) await node.became('reconnecting')
    const replica = engines[3]?.port ?? 0
    await promoted(replica)
    for (const node of nodes) await node.became('connected')
    for (const channel of channels) await flows(nodes, channel, 'after')
    expect(await spublishes(replica)).toBeGreaterThan(0)
  })
})

/** While a slot moves, a message to its channel is lost until all nodes know. */
async function eventuallyFlows(nodes: readonly Node[], channel: string): Promise<void> {
  let attempt = 0
  await eventually(
    `messages on ${channel}`,
    () => {
      for (const node of nodes) node.publish(channel, `attempt ${attempt}`)
      attempt++
      return nodes.every(({ messages }) =>
        messages.all.some((message) => message.startsWith(`${channel}: attempt`)),
      )
    },
    () => nodes.map(({ errors }) => errors.all.map(String)),
  )
}

async function spublishes(port: number): Promise<number> {
  return Number(/cmdstat_spublish:calls=(\d+)/.exec(await redis(port, 'INFO', 'commandstats'))?.[1] ?? 0)
}

/** The other masters have to agree, after the cluster's node timeout. */
function promoted(port: number): Promise<void> {
  return until('the replica to be promoted', async () => (await redis(port, 'ROLE')).startsWith('master'))
}

/** Returns the result of the first call of `make`. */
function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}
