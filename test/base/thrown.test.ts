import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { type Backplane, type EventHandler, Hub, type HubOptions, Opcode } from 'wshub'
import { asError, textOf } from '../../src/base/thrown.ts'
import { Bus } from '../support/bus.ts'
import { acquainted, join } from '../support/cluster.ts'
import { eventually, handshake, RawClient, serve, turn } from '../support/hub-server.ts'
import { anyThrow, eachThrow, hurl, type Throw, thrownValues, watchProcess } from '../support/thrown.ts'

const NUM_RUNS = 60
/** Callbacks for which each set of error listeners is tried. */
const BRIEF_RUNS = 15

/** Error listeners: none, the handler's, the hub's, or both; each may throw as well. */
const LISTENERS = ['nobody', 'handler', 'hub', 'failing handler', 'failing both'] as const

/** Makes the client do something that runs each callback. No client can make the hub call `onBehind`. */
const PROVOKE: Readonly<
  Record<Exclude<keyof EventHandler, 'onError' | 'onBehind'>, (client: RawClient) => void>
> = {
  onOpen: () => {},
  onMessage: (client) => client.send({ opcode: Opcode.text }),
  onPing: (client) => client.send({ opcode: Opcode.ping }),
  onPong: (client) => client.send({ opcode: Opcode.pong }),
  onClose: () => {},
  onExpire: () => {},
  onDrop: () => {},
}

const callbacks = Object.keys(PROVOKE) as (keyof typeof PROVOKE)[] // Object.keys forgets the key type

/** Checks a property for any thrown value, and that nothing is uncaught after each run. */
async function check(
  run: (thrown: Throw) => Promise<void>,
  { ways, isBrief = false }: { ways?: readonly string[]; isBrief?: boolean } = {},
): Promise<void> {
  const { stray } = watchProcess()
  const property = fc.asyncProperty(anyThrow(ways), async (thrown) => {
    await run(thrown)
    await turn() // when an unhandled rejection is reported
    expect(stray.splice(0)).toEqual([])
  })
  const examples = isBrief ? [] : eachThrow().filter(({ way }) => ways === undefined || ways.includes(way))
  await fc.assert(property, {
    numRuns: isBrief ? BRIEF_RUNS : Math.max(NUM_RUNS, examples.length),
    examples: examples.map((thrown): [Throw] => [thrown]),
    endOnFailure: true,
  })
}

describe('the process survives whatever is thrown', () => {
  describe.each(LISTENERS)('when %s receives it', (listeners) => {
    it.each(callbacks)('survives %s', async (name) => {
      let current: Throw | undefined
      let calls = 0
      const fail = () => {
        calls++
        return current && hurl(current)
      }
      const handler: EventHandler = {
        ...(listeners === 'handler' && { onError: () => {} }),
        ...(listeners.startsWith('failing') && { onError: fail }),
        onOpen(connection) {
          if (name !== 'onDrop') return
          connection.sendText('dropped by the end of the connection')
          connection.terminate()
        },
        [name]: fail,
      }
      const { hub, port } = await serve(
        {
          closeTimeoutMs: 1_000,
          pongTimeoutMs: 20,
          ...(listeners === 'hub' && { onError: () => {} }),
          ...(listeners === 'failing both' && { onError: fail }),
        } satisfies HubOptions,
        handler,
        {
          withoutOnError: listeners === 'nobody' || listeners === 'hub',
          ...(name === 'onExpire' && { expiresAt: 1 }),
        },
      )
      await check(
        async (thrown) => {
          current = thrown
          calls = 0
          const client = await RawClient.open(port)
          PROVOKE[name](client)
          if (name === 'onExpire') await client.closeFrame()
          client.send({ opcode: Opcode.close }) // as its answer, or without effect
          await eventually(
            'the end of the connection',
            () => hub.size === 0,
            () => client.frames.all,
          )
          client.socket.destroy()
          expect(calls).toBeGreaterThan(0)
        },
        { isBrief: listeners !== 'nobody' && listeners !== 'failing both' },
      )
    })
  })

  it('survives the handler of a call, and answers the calling node', async () => {
    const bus = new Bus()
    const nodes = [await join(bus), await join(bus)] as const
    await acquainted(nodes)
    const [asking, answering] = nodes
    let current: Throw | undefined
    for (const { hub } of nodes) {
      hub.cluster.handle('fail', () => (current && hurl(current)) as string) // any answer is correct
      hub.cluster.handle('live', () => 'alive')
    }
    await check(async (thrown) => {
      current = thrown
      const { results, missing } = await asking.hub.cluster.call('fail')
      expect(missing).toEqual([])
      for (const { value, error } of results) {
        expect(['string', 'undefined']).toContain(typeof error)
        if (['thrown', 'rejected', 'rejected later'].includes(thrown.way))
          expect({ value, error: typeof error }).toEqual({ value: undefined, error: 'string' })
      }
      const alive = await answering.hub.cluster.call('live')
      expect(alive.results.map(({ value }) => value)).toEqual(['alive', 'alive'])
    })
  })

  it('survives onGap, and receives later messages', async () => {
    const bus = new Bus()
    let current: Throw | undefined
    let calls = 0
    const onGap = () => {
      calls++
      return current && hurl(current)
    }
    const nodes = [await join(bus), await join(bus, { onGap })] as const
    await acquainted(nodes)
    const [sender, receiver] = nodes
    sender.hub.broadcast('first')
    await receiver.client.upTo('first')
    let sent = 0
    await check(async (thrown) => {
      current = thrown
      calls = 0
      receiver.backplane.drop = () => true
      sender.hub.broadcast('lost')
      await sender.client.received.until('the message', (all) => all.at(-1) === 'lost')
      await eventually(
        'the bus to have lost it',
        () => bus.published.length > 0,
        () => bus.published,
      )
      await turn()
      receiver.backplane.drop = () => false
      sender.hub.broadcast(`marker ${++sent}`)
      await receiver.client.received.first('the marker', (data) => data === `marker ${sent}`)
      expect(calls).toBeGreaterThan(0)
    })
  })

  it('survives the toJSON of public metadata, and lists the connections', async () => {
    const bus = new Bus()
    const options = { publicMetadata: ['name'] }
    const nodes = [await join(bus, options), await join(bus, options)] as const
    await acquainted(nodes)
    let current: Throw | undefined
    for (const { connection } of nodes) {
      connection.setMetadata('name', { toJSON: () => current && hurl(current) })
    }
    await check(
      async (thrown) => {
        current = thrown
        const { results, missing } = await nodes[0].hub.cluster.connections()
        expect(missing).toEqual([])
        expect(results.map(({ metadata }) => metadata)).toEqual([{}, {}])
      },
      { ways: ['thrown'] },
    )
  })

  it('survives trustProxy, and gives the route a readable error', async () => {
    let current: Throw | undefined
    const { port, refusals, hub } = await serve({ trustProxy: () => Boolean(current && hurl(current)) })
    await check(
      async (thrown) => {
        current = thrown
        refusals.all.length = 0
        const client = new RawClient(port)
        client.socket.write(handshake(['X-Forwarded-For: 192.0.2.1']))
        const refusal = await refusals.first('the refusal', () => true)
        expect(typeof textOf(refusal, 'message')).toBe('string')
        await client.hungUp()
        expect(hub.size).toBe(0)
      },
      { ways: ['thrown'] },
    )
  })

  it.each(['start', 'publish', 'subscribe', 'unsubscribe', 'close', 'state'] as const)(
    'survives %s of a backplane',
    async (name) => {
      const { url } = await serve()
      await check(
        async (thrown) => {
          const backplane: Backplane = {
            state: 'connected',
            start: async (listener) => listener.onStateChange('connected'),
            publish: () => true,
            subscribe: async () => {},
            unsubscribe() {},
            close: async () => {},
          }
          Object.defineProperty(
            backplane,
            name,
            name === 'state' ? { get: () => hurl(thrown) } : { value: () => hurl(thrown) },
          )
          const faults: Error[] = []
          const hub = new Hub({
            backplane,
            cluster: { roomGraceMs: 0 },
            onError: (error) => faults.push(error),
          })
          const connection = hub.register(new WebSocket(url), {})
          hub.joinRoom(connection, 'tea')
          hub.leaveRoom(connection, 'tea')
          hub.broadcast('to the other nodes')
          hub.sendTo(`${'x'.repeat(12)}.0`, 'to another node')
          await eventually(
            'the end of the subscription',
            () => hub.cluster.stats().rooms === 0,
            () => hub.cluster.stats(),
          )
          await hub.close({ timeoutMs: 1 })
          await turn()
          expect(faults).not.toEqual([])
          for (const fault of faults) expect(typeof textOf(fault, 'message')).toBe('string')
        },
        { ways: name === 'state' ? ['thrown'] : ['thrown', 'rejected'] },
      )
    },
  )
})

describe('asError', () => {
  it.each(thrownValues())('returns a readable Error for %s', (_name, value) => {
    const error = asError(value, 'onMessage')
    expect([Object.prototype.toString.call(error), error instanceof Error]).not.toEqual([
      '[object Object]',
      false,
    ])
    for (const key of ['name', 'message'] as const) expect(typeof textOf(error, key)).toBe('string')
  })

  it('returns a readable Error as it is, even of another realm or a class that is not native', () => {
    const errors = [new TypeError('x'), runInNewContext('new Error("x")'), AbortSignal.abort().reason]
    for (const error of errors) expect(asError(error, 'onMessage')).toBe(error)
  })

  it('keeps anything else as the cause, and names the code that threw it', () => {
    const error = asError('x', 'onMessage')
    expect(error).toMatchObject({
      code: 'WSHUB_ERR_HANDLER_THREW',
      message: 'onMessage threw "x"',
      cause: 'x',
    })
  })
})
