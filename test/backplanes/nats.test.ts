import { fileURLToPath } from 'node:url'
import { connect } from '@nats-io/transport-node'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { Hub } from 'wshub'
import { natsBackplane } from 'wshub/nats'
import { backplaneContract } from 'wshub/testing/backplane'
import { freePort } from '../support/free-port.ts'
import { eventually, Journal, thrownBy, turn } from '../support/hub-server.ts'
import { until, WAIT_MS } from '../support/in-time.ts'
import { Cable, type Engine, startNats, startNatsCluster } from '../support/servers.ts'
import { SilentServer } from '../support/silent-server.ts'
import { flows, Node } from './node.ts'
import { serverCases } from './server-cases.ts'

describe('natsBackplane', () => {
  let engine: Engine
  let cable: Cable
  let servers: string

  beforeAll(async () => {
    engine = await startNats()
    cable = await Cable.to(engine.port)
    servers = `127.0.0.1:${cable.port}`
  })

  afterEach(() => cable.restore())

  afterAll(async () => {
    await cable?.close()
    await engine?.stop()
  })

  const contract = backplaneContract({
    create: () => natsBackplane({ servers }),
    cut: () => cable.cut(),
    restore: () => cable.restore(),
    timeoutMs: WAIT_MS,
  })
  for (const { name, run } of contract) it(name, run)

  const start = () => Node.start(natsBackplane({ servers }))

  describe('the connection it is given', () => {
    it('carries its messages, and is not changed', async () => {
      const connection = await connect({ servers })
      onTestFinished(() => connection.close())
      const node = await Node.start(natsBackplane({ connection }))
      await node.backplane.subscribe('mine')
      await flows([node, await subscribed('mine')], 'mine', 'hello')
      await node.backplane.close()
      expect(connection.isClosed()).toBe(false)
      await connection.flush()
    })

    it('determines the state when it is disconnected and when it closes', async () => {
      const connection = await connect({ servers, reconnectTimeWait: 50, maxReconnectAttempts: -1 })
      onTestFinished(() => connection.close())
      const node = await Node.start(natsBackplane({ connection }))
      await node.backplane.subscribe('mine')
      cable.cut()
      await node.became('reconnecting')
      cable.restore()
      await node.became('connected')
      await flows([node], 'mine', 'after')
      await connection.close()
      await node.became('closed')
      expect(node.states.all).toEqual(['connected', 'reconnecting', 'connected', 'closed'])
    })

    it('must not be closed', async () => {
      const connection = await connect({ servers })
      await connection.close()
      await expect(Node.of(natsBackplane({ connection })).begin()).rejects.toThrow('closed')
    })

    it('must not be one with noEcho', async () => {
      const connection = await connect({ servers, noEcho: true })
      onTestFinished(() => connection.close())
      const node = Node.of(natsBackplane({ connection }))
      await expect(node.begin()).rejects.toThrow(/did not pass a test message/)
      expect(node.backplane.state).toBe('closed')
      expect(node.errors.all).toEqual([])
    })
  })

  it('leaves no connection when it is closed while NATS does not answer', async () => {
    const silent = await SilentServer.start()
    const node = Node.of(natsBackplane({ servers: `127.0.0.1:${silent.port}` }))
    const started = node.begin()
    await silent.accepts(1)
    await node.backplane.close()
    await expect(started).rejects.toThrow('closed')
    await silent.isLeft()
  })

  it('leaves no connection each time that NATS does not answer', async () => {
    const silent = await SilentServer.start()
    const node = Node.of(natsBackplane({ servers: `127.0.0.1:${silent.port}`, timeout: 50 }))
    node.begin().catch(() => {}) // it is closed
    await silent.accepts(5)
    expect(silent.connected).toBeLessThan(3) // a connection may just be closing
  })

  it('leaves no connection when it is closed while it connects', async () => {
    const monitor = await freePort()
    const own = await startNats('-m', `${monitor}`)
    onTestFinished(() => own.stop())
    for (let turns = 0; turns < 10; turns++) {
      const node = Node.of(natsBackplane({ servers: `127.0.0.1:${own.port}` }))
      node.begin().catch(() => {}) // it may have connected just before
      for (let index = 0; index < turns; index++) await turn()
      await node.backplane.close()
    }
    let seen = ''
    await until(
      'all clients to leave',
      async () => {
        seen = await (await fetch(`http://127.0.0.1:${monitor}/connz`)).text()
        return JSON.parse(seen).num_connections === 0
      },
      () => seen,
    )
  })

  it('names the servers that it cannot reach, without their credentials', async () => {
    const ports = [await freePort(), await freePort()]
    const servers = ports.map((port) => `nats://user:secret@127.0.0.1:${port}`)
    const node = Node.of(natsBackplane({ servers }))
    node.begin().catch(() => {}) // it is closed
    const { message } = await node.errors.first('a report', () => true)
    expect(message).toBe(`connection refused: no connection to 127.0.0.1:${ports[0]}, 127.0.0.1:${ports[1]}`)
  })

  describe('a configuration that can never work', () => {
    it('throws if there is no server, or one is not a string', () => {
      for (const servers of [[], '', [''], 4222, ['127.0.0.1', 1], null]) {
        // @ts-expect-error some are of another type
        expect(thrownBy(() => natsBackplane({ servers }))).toMatchObject({ code: 'WSHUB_ERR_INVALID_OPTION' })
      }
    })

    it('rejects the start if the token is wrong, and a hub tells why', async () => {
      const guarded = await startNats('--auth', 'right')
      onTestFinished(() => guarded.stop())
      const at = (token: string) => natsBackplane({ servers: `127.0.0.1:${guarded.port}`, token })
      const node = Node.of(at('wrong'))
      await expect(node.begin()).rejects.toThrow(/Authorization/i)
      expect(node.backplane.state).toBe('closed')
      const faults = new Journal<Error>()
      const hub = new Hub({ backplane: at('wrong'), onError: (error) => faults.push(error) })
      onTestFinished(async () => void (await hub.close()))
      await expect(hub.cluster.ready()).rejects.toThrow(/Authorization/i)
      expect(faults.all.map(({ message }) => message)).toEqual([expect.stringMatching(/Authorization/i)])
      const admitted = await Node.start(at('right'))
      await admitted.backplane.subscribe('admitted')
      await flows([admitted], 'admitted', 'hello')
    })
  })

  it('rejects a message longer than the server accepts, and reports it', async () => {
    const node = await start()
    await node.backplane.subscribe('long')
    expect(node.backplane.publish('long', new Uint8Array(1_048_577))).toBe(false)
    expect(node.errors.all.map(({ message }) => message)).toEqual([expect.stringContaining('max_payload')])
    await flows([node], 'long', 'marker')
    expect(node.messages.all).toHaveLength(1)
  })

  it('rejects only the subscriptions that NATS does not allow', async () => {
    const limited = await startNats(
      '--config',
      fileURLToPath(new URL('./nats-limited.conf', import.meta.url)),
    )
    onTestFinished(() => limited.stop())
    const credentials = { user: 'limited', pass: 'any' }
    const node = await Node.start(natsBackplane({ servers: `127.0.0.1:${limited.port}`, ...credentials }))
    const [mine, theirs] = ['mine.room', 'theirs.room'].map((channel) => node.backplane.subscribe(channel))
    await expect(theirs).rejects.toThrow(/permissions/i)
    await mine
    await flows([node], 'mine.room', 'hello')
    expect(node.states.all).toEqual(['connected'])
  })

  describe('when NATS', () => {
    serverCases({
      startEngine: () => startNats(),
      create: (port, options) => natsBackplane({ servers: `127.0.0.1:${port}`, ...options }),
      cable: () => cable,
    })

    it('stops for a while, the waiting messages arrive once and in order', async () => {
      const slow = await startNats()
      onTestFinished(() => slow.stop())
      const make = () => Node.start(natsBackplane({ servers: `127.0.0.1:${slow.port}` }))
      const [one, two] = [await make(), await make()]
      await two.backplane.subscribe('paused')
      slow.freeze()
      const expected = Array.from({ length: 200 }, (_, index) => `paused: ${index}`)
      for (const index of expected.keys()) expect(one.publish('paused', `${index}`)).toBe(true)
      let isConfirmed = false
      const confirmed = two.backplane.subscribe('later').then(() => {
        isConfirmed = true
      })
      for (let round = 0; round < 20; round++) await turn()
      expect(isConfirmed).toBe(false)
      slow.thaw()
      await confirmed
      await two.heard('paused', '199')
      expect(two.messages.all).toEqual(expected)
      for (const { states } of [one, two]) expect(states.all).toEqual(['connected'])
    })
  })

  async function subscribed(channel: string): Promise<Node> {
    const node = await start()
    await node.backplane.subscribe(channel)
    return node
  }
})

describe('natsBackplane of a NATS cluster', () => {
  let engines: Engine[]
  let cables: Cable[]
  let made = 0

  beforeAll(async () => {
    engines = await startNatsCluster()
    cables = await Promise.all(engines.map(({ port }) => Cable.to(port)))
  })

  afterEach(() => {
    for (const cable of cables) cable.restore()
  })

  afterAll(async () => {
    await Promise.all(
      [...(cables ?? []), ...(engines ?? [])].map((part) => ('stop' in part ? part.stop() : part.close())),
    )
  })

  /** Connects each client to another server than the one before, while that is running. */
  function create() {
    const first = made++ % cables.length
    const ports = [...cables.slice(first), ...cables.slice(0, first)].map(({ port }) => `127.0.0.1:${port}`)
    return natsBackplane({ servers: ports, noRandomize: true })
  }

  const contract = backplaneContract({
    create,
    cut: () => cables.forEach((cable) => void cable.cut()),
    restore: () => cables.forEach((cable) => void cable.restore()),
    timeoutMs: WAIT_MS,
  })
  for (const { name, run } of contract) it(name, run)

  it('continues at the other servers when one is killed, and when it is back', async () => {
    const nodes = [await Node.start(create()), await Node.start(create()), await Node.start(create())]
    for (const { backplane } of nodes) await backplane.subscribe('cluster')
    const drops = () =>
      nodes.flatMap(({ states }) => states.all.filter((state) => state === 'reconnecting')).length
    for (const [index, engine] of engines.entries()) {
      const before = drops()
      await engine.kill()
      await eventually('somebody to notice', () => drops() > before, drops)
      for (const node of nodes) await node.became('connected')
      await flows(nodes, 'cluster', `without ${index}`)
      await engine.start()
      await flows(nodes, 'cluster', `with ${index}`)
    }
  })
})
