import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import fastify from 'fastify'
import { describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { Frame, Handshake, Hub, HubError, MemoryBackplane, MemoryBus, Opcode } from 'wshub'
import { wsHub as expressHub } from 'wshub/express'
import { hubPlugin } from 'wshub/fastify'
import { wsHub as koaHub } from 'wshub/koa'
import { natsBackplane } from 'wshub/nats'
import { nodeClusterBackplane, serveNodeCluster } from 'wshub/node-cluster'
import { redisBackplane } from 'wshub/redis'
import { connect } from 'wshub/testing'
import { backplaneContract } from 'wshub/testing/backplane'
import { checkHandler } from '../../src/connection/event-handler.ts'
import { serve, thrownBy } from '../support/hub-server.ts'

/** A socket that is never connected, because the hub throws before it uses the socket. */
function socket(): WebSocket {
  const ws = new WebSocket('ws://127.0.0.1:1')
  ws.on('error', () => {})
  ws.terminate()
  return ws
}

const hub = new Hub()
const request = {} as IncomingMessage // it is checked after the handler and the init

/** Each object that an application passes, with a key that is misspelt, and the key that is meant. */
const CALLS: readonly [what: string, call: (options: never) => unknown, key: string, meant: string][] = [
  ['a hub', (options) => new Hub(options), 'maxConnection', 'maxConnections'],
  ['limits', (limits) => new Hub({ limits }), 'maxRoomPerConnection', 'maxRoomsPerConnection'],
  ['compression', (enableCompression) => new Hub({ enableCompression }), 'threshold', 'thresholdBytes'],
  ['a heartbeat', (heartbeat) => new Hub({ heartbeat }), 'every', 'everyMs'],
  ['a cluster', (cluster) => new Hub({ cluster }), 'heartbeatInterval', 'heartbeatIntervalMs'],
  ['Hub#close', (options) => hub.close(options), 'timeout', 'timeoutMs'],
  ['Hub#broadcast', (options) => hub.broadcast('x', options), 'excepts', 'except'],
  ['Hub#broadcastExcept', (options) => hub.broadcastExcept('x', 'n.0', options), 'exceptRoom', 'exceptRooms'],
  ['Hub#broadcastToRoom', (options) => hub.broadcastToRoom('tea', 'x', options), 'keys', 'key'],
  [
    'Hub#broadcastToRoomExcept',
    (options) => hub.broadcastToRoomExcept('tea', 'x', 'n.0', options),
    'Local',
    'local',
  ],
  ['Hub#sendTo', (options) => hub.sendTo('n.0', 'x', options), 'volatil', 'volatile'],
  ['Hub#register', (init) => hub.register(socket(), {}, init), 'meta', 'metadata'],
  ['a handler', (handler) => hub.register(socket(), handler), 'onmessage', 'onMessage'],
  ['a handler of an upgrade', (handler) => hub.upgrade(request, handler), 'message', 'onMessage'],
  ['Express', (options) => expressHub(options), 'pingInterval', 'pingIntervalMs'],
  ['Koa', (options) => koaHub(options), 'pingInterval', 'pingIntervalMs'],
  ['Redis', (options) => redisBackplane(options), 'urls', 'url'],
  ['NATS', (options) => natsBackplane(options), 'server', 'servers'],
  ['node:cluster', (options) => nodeClusterBackplane(options), 'maxPending', 'maxPendingBytes'],
  ['the primary', (options) => serveNodeCluster(options), 'maxPending', 'maxPendingBytes'],
  ['Handshake.createResponse', (init) => Handshake.createResponse('key', init), 'protocols', 'protocol'],
  ['Frame', (init) => new Frame(init), 'payloads', 'payload'],
]

describe('an unknown key', () => {
  it.each(CALLS)('throws in %s, and names the key that is meant', (_what, call, key, meant) => {
    const thrown = thrownBy(() => call({ [key]: undefined } as never))
    expect(thrown).toMatchObject({ message: expect.stringContaining(`"${key}" is no`) })
    expect(thrown).toMatchObject({
      message: expect.stringMatching(new RegExp(`did you mean "${meant}"\\?$`)),
    })
    expect(thrown).toMatchObject({ code: expect.stringMatching(/INVALID_(OPTION|HANDLER)$/) })
  })

  it.each(CALLS)('throws in %s although it resembles no key', (_what, call) => {
    const thrown = thrownBy(() => call({ zzzzzzzzz: 1 } as never))
    expect(thrown).toMatchObject({ code: expect.stringMatching(/INVALID_(OPTION|HANDLER)$/) })
    expect((thrown as Error).message).not.toContain('did you mean') // a HubError
  })

  it.each(['x', 7, null, ['x'], true])('is not searched for in %o, which is refused as well', (options) => {
    for (const [what, call] of CALLS) {
      if (what === 'compression' && options === true) continue
      expect(() => call(options as never), what).toThrow(HubError)
    }
  })

  it('throws in the options of a message to one connection', async () => {
    const { connect } = await serve()
    const { connection } = await connect()
    for (const send of [
      () => connection.sendText('x', { keys: 'k' } as never),
      () => connection.sendBinary(Buffer.from('x'), { keys: 'k' } as never),
    ]) {
      expect(thrownBy(send)).toMatchObject({ message: expect.stringMatching(/did you mean "key"\?$/) })
    }
  })

  it.each<[string, (options: never) => Promise<unknown>]>([
    ['roomSize', (options) => hub.cluster.roomSize('tea', options)],
    ['members', (options) => hub.cluster.members('tea', options)],
    ['connections', (options) => hub.cluster.connections(options)],
    ['nodes', (options) => hub.cluster.nodes(options)],
    ['join', (options) => hub.cluster.join({ all: true }, 'tea', options)],
    ['leave', (options) => hub.cluster.leave({ all: true }, 'tea', options)],
    ['disconnect', (options) => hub.cluster.disconnect({ all: true }, 1000, '', options)],
    ['call', (options) => hub.cluster.call('name', '', options)],
  ])('makes Cluster#%s reject', async (_what, call) => {
    await expect(call({ timeout: 1 } as never)).rejects.toMatchObject({
      code: 'WSHUB_ERR_INVALID_OPTION',
      message: expect.stringMatching(/did you mean "timeoutMs"\?$/),
    })
    await expect(call('timeoutMs' as never)).rejects.toMatchObject({ code: 'WSHUB_ERR_INVALID_OPTION' })
    await expect(call(null as never)).rejects.toMatchObject({ code: 'WSHUB_ERR_INVALID_OPTION' })
  })

  it('throws in an upgrade', async () => {
    const thrown: unknown[] = []
    const application = (req: IncomingMessage, res: ServerResponse) => {
      thrown.push(thrownBy(() => hub.upgrade(req, {}, { header: {} } as never)))
      thrown.push(thrownBy(() => hub.upgrade(req, {}, 'chat' as never)))
      res.end()
    }
    await expect(connect(application, '/')).rejects.toThrow()
    expect(thrown).toMatchObject([
      { code: 'WSHUB_ERR_INVALID_OPTION', message: expect.stringMatching(/did you mean "headers"\?$/) },
      { code: 'WSHUB_ERR_INVALID_OPTION' },
    ])
  })

  it('makes the test client reject', async () => {
    const options = 'headers, protocols, perMessageDeflate, remoteAddress, timeoutMs'
    await expect(connect(createServer(), '/', { timeout: 1 } as never)).rejects.toThrow(
      new TypeError(`"timeout" is not one of the options of connect: ${options}`),
    )
    await expect(connect(createServer(), '/', null as never)).rejects.toThrow(TypeError)
  })

  it('throws in the setup of a contract', () => {
    const create = () => new MemoryBackplane(new MemoryBus())
    expect(() => backplaneContract({ create, timeout: 1 } as never)).toThrow(
      new TypeError('"timeout" is not one of the parts of a setup: create, cut, restore, timeoutMs'),
    )
    expect(() => backplaneContract({} as never)).toThrow(TypeError)
  })

  it('makes the plugin of Fastify reject', async () => {
    const misspelt = fastify().register(hubPlugin, { maxConnection: 1 } as never)
    await expect(async () => misspelt.ready()).rejects.toThrow(/did you mean "maxConnections"\?$/)
    const beside = fastify().register(hubPlugin, { hub, maxConnections: 1 } as never)
    await expect(async () => beside.ready()).rejects.toThrow('has no effect beside { hub }')
  })

  it('throws beside { hub }, since the hub has its options', () => {
    for (const mount of [expressHub, koaHub, Hub.from]) {
      expect(thrownBy(() => mount({ hub, maxConnections: 1 } as never))).toMatchObject({
        code: 'WSHUB_ERR_INVALID_OPTION',
        message:
          '"maxConnections" has no effect beside { hub }: a hub keeps the options that it was created with',
      })
    }
    expect(Hub.from({ hub })).toBe(hub)
    expect(Hub.from({ hub: undefined } as never)).toBeInstanceOf(Hub)
    expect(() => Hub.from({ hub: {} } as never)).toThrow(HubError)
  })

  it('is ignored in a handler that is a class instance, unless it differs from a callback only in case', () => {
    class Chat {
      users = 0
      onOpen(): void {
        this.users++
      }
      onUserCount(): number {
        return this.users
      }
      onClosed(): void {}
      onMessages(): void {}
      onPongs(): void {}
      on(): void {}
    }
    class Misspelt extends Chat {
      onmessage(): void {}
    }
    expect(() => checkHandler(new Chat())).not.toThrow()
    expect(thrownBy(() => hub.register(socket(), new Misspelt() as never))).toMatchObject({
      code: 'WSHUB_ERR_INVALID_HANDLER',
      message: '"onmessage" is not a callback of a handler; did you mean "onMessage"?',
    })
  })

  it('is not reported for the known keys of each call', () => {
    expect(new Frame({ opcode: Opcode.ping, payload: Buffer.alloc(0) }).opcode).toBe(Opcode.ping)
    expect(Handshake.createResponse('key', { protocol: 'chat', headers: {} })).toContain('chat')
  })
})

describe('metadata', () => {
  it.each(['x', 7, null, ['x'], new Map([['userId', 'u1']])])('is not %o', (metadata) => {
    const thrown = thrownBy(() => hub.register(socket(), {}, { metadata: metadata as never }))
    expect(thrown).toMatchObject({ code: 'WSHUB_ERR_INVALID_OPTION' })
    expect((thrown as Error).message).toMatch(/^metadata is an object of entries, not /) // a HubError
  })
})
