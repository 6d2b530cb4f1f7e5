import type { IncomingMessage } from 'node:http'
import { createServer as createNetServer } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { Frame, Handshake, Hub, type HubOptions, memoryHistory, Opcode } from 'wshub'
import { HUB_DEFAULTS } from '../../src/hub/hub-options.ts'
import { LIMIT_DEFAULTS } from '../../src/hub/limit-options.ts'
import { handshake, KEY, RawClient, serve, thrownBy } from '../support/hub-server.ts'

const hub = new Hub()

/** Values that the types do not allow. */
function wrong<Value>(value: unknown): Value {
  return value as Value
}

/** Returns the error of an upgrade for an `init`, which is checked before the rest of the request. */
function upgraded(init: object): unknown {
  const headers = {
    connection: 'upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': KEY,
  }
  const request = wrong<IncomingMessage>({ method: 'GET', httpVersionMajor: 1, httpVersionMinor: 1, headers })
  return thrownBy(() => hub.upgrade(request, {}, wrong(init)))
}

describe('null as an option', () => {
  it.each(Object.keys(HUB_DEFAULTS))('is refused as a value of the wrong type: %s', (key) => {
    expect(thrownBy(() => new Hub(wrong<HubOptions>({ [key]: null })))).toMatchObject({
      code: 'WSHUB_ERR_INVALID_OPTION',
      message: expect.stringMatching(new RegExp(`${key}.*not null`)),
    })
  })

  it.each(Object.keys(LIMIT_DEFAULTS))('is refused among the limits: %s', (key) => {
    expect(thrownBy(() => new Hub({ limits: wrong({ [key]: null }) }))).toMatchObject({
      code: 'WSHUB_ERR_INVALID_OPTION',
      message: expect.stringContaining(`limits.${key}`),
    })
  })

  it.each(['publicMetadata', 'roomGraceMs', 'namespace', 'onGap'])('is refused for a cluster: %s', (key) => {
    expect(thrownBy(() => new Hub({ cluster: wrong({ [key]: null }) }))).toMatchObject({
      code: 'WSHUB_ERR_INVALID_OPTION',
      message: expect.stringContaining(`cluster.${key}`),
    })
  })

  it.each(['code', 'reason', 'batch', 'everyMs', 'timeoutMs'])('is refused by close: %s', (key) => {
    expect(thrownBy(() => hub.close(wrong({ [key]: null })))).toMatchObject({
      code: expect.stringMatching(/^WSHUB_ERR_INVALID_(OPTION|CLOSE)$/),
    })
    expect(hub.state).toBe('open')
  })

  it.each(['protocol', 'headers', 'metadata', 'expiresAt', 'remoteAddress', 'isSecure'])(
    'is refused by an upgrade: %s',
    (key) => {
      expect(upgraded({ [key]: null })).toMatchObject({ code: 'WSHUB_ERR_INVALID_OPTION' })
    },
  )

  it('is refused as the time of a call', async () => {
    const call = hub.cluster.call('any', '', wrong({ timeoutMs: null }))
    await expect(call).rejects.toMatchObject({ code: 'WSHUB_ERR_INVALID_OPTION' })
  })
})

describe('init.isSecure', () => {
  it.each(['yes', 1, {}])('must be a boolean, not %j', (isSecure) => {
    expect(upgraded({ isSecure })).toMatchObject({
      code: 'WSHUB_ERR_INVALID_OPTION',
      message: expect.stringContaining('isSecure is true or false'),
    })
  })
})

describe('an array with holes', () => {
  const holes = wrong<string[]>(new Array(2))

  it.each<[string, () => unknown]>([
    ['allowedOrigins', () => new Hub({ allowedOrigins: holes })],
    ['allowedHosts', () => new Hub({ allowedHosts: holes })],
    ['protocols', () => new Hub({ protocols: holes })],
    ['trustProxy', () => new Hub({ trustProxy: holes })],
    ['publicMetadata', () => new Hub({ cluster: { publicMetadata: holes } })],
    ['except', () => hub.broadcast('x', { except: holes })],
    ['exceptRooms', () => hub.broadcast('x', { exceptRooms: holes })],
    ['rooms of a broadcast', () => hub.broadcastToRoom(holes, 'x')],
    ['rooms of a count', () => hub.roomSize(holes)],
    ['rooms of a disconnect', () => hub.disconnect(holes)],
  ])('is refused: %s', (_what, call) => {
    expect(thrownBy(call)).toMatchObject({
      code: expect.stringMatching(/^WSHUB_ERR_INVALID_(OPTION|ROOM)$/),
    })
  })

  it('is refused by a selector', async () => {
    await expect(hub.cluster.disconnect({ id: holes })).rejects.toMatchObject({
      code: 'WSHUB_ERR_INVALID_SELECTOR',
    })
    await expect(hub.cluster.disconnect({ room: holes })).rejects.toMatchObject({
      code: 'WSHUB_ERR_INVALID_ROOM',
    })
  })
})

describe('bytes that were transferred', () => {
  const buffer = new ArrayBuffer(8)
  const view = new Uint8Array(buffer)
  structuredClone(buffer, { transfer: [buffer] })

  it.each<[string, () => unknown]>([
    ['Hub#broadcast', () => hub.broadcast(buffer)],
    ['Hub#broadcast of a view', () => hub.broadcast(view)],
    ['Hub#broadcastToRoom', () => hub.broadcastToRoom('nobody', buffer)],
    ['Hub#sendTo', () => hub.sendTo('n.0', buffer)],
    ['Frame.binary', () => Frame.binary(buffer)],
    ['Frame.ping', () => Frame.ping(view)],
  ])('are refused: %s', (_what, call) => {
    expect(thrownBy(call)).toMatchObject({
      code: 'WSHUB_ERR_INVALID_PAYLOAD',
      message: expect.stringContaining('not a detached one'),
    })
  })

  it('are not mistaken for an empty message', () => {
    expect(hub.broadcast(new ArrayBuffer(0))).toBe(0)
    expect(Frame.binary(new Uint8Array(0)).payload).toHaveLength(0)
  })
})

describe('Frame', () => {
  it.each([3, 7, 11, 15, 99, -1, 1.5, 'text', undefined, null])('refuses the opcode %j', (opcode) => {
    expect(thrownBy(() => new Frame({ opcode: wrong<Opcode>(opcode) }))).toMatchObject({
      code: 'WSHUB_ERR_INVALID_FRAME',
      message: expect.stringContaining('is not an opcode of RFC 6455'),
    })
  })

  it.each(['fin', 'rsv1', 'rsv2', 'rsv3', 'masked'])('refuses %s that is not a boolean', (key) => {
    const init = { opcode: Opcode.text, [key]: wrong<boolean>(1) }
    expect(thrownBy(() => new Frame(init))).toMatchObject({
      code: 'WSHUB_ERR_INVALID_OPTION',
      message: `${key} is true or false, not 1`,
    })
  })

  it('refuses a payload, a masking key and a buffer that are not bytes', () => {
    expect(thrownBy(() => new Frame({ opcode: 1, payload: wrong('x') }))).toMatchObject({
      code: 'WSHUB_ERR_INVALID_PAYLOAD',
    })
    expect(thrownBy(() => new Frame({ opcode: 1, maskKey: wrong('abcd') }))).toMatchObject({
      code: 'WSHUB_ERR_INVALID_OPTION',
    })
    expect(thrownBy(() => Frame.decode(wrong('x')))).toMatchObject({ code: 'WSHUB_ERR_INVALID_PAYLOAD' })
  })
})

describe('a predicate or rule that returns a promise', () => {
  const asynchronous = (name: string) => ({
    code: 'WSHUB_ERR_INVALID_OPTION',
    message: expect.stringMatching(new RegExp(`${name}.*must not return a promise`)),
  })

  it('closes no connection as a predicate of disconnect, also when it rejects', async () => {
    const { hub: own, connect } = await serve()
    await connect()
    expect(thrownBy(() => own.disconnect(wrong(async () => false)))).toMatchObject(asynchronous('disconnect'))
    const rejecting = wrong<() => boolean>(() => Promise.reject(new Error('too late')))
    expect(thrownBy(() => own.disconnect(rejecting))).toMatchObject(asynchronous('disconnect'))
    await new Promise(setImmediate) // a rejection that nobody handled would fail the test
    expect(own.size).toBe(1)
  })

  it.each([
    ['a promise of true', true],
    ['a promise of false', false],
  ])('trusts no proxy as trustProxy, and fails the request: %s', async (_what, trusted) => {
    const { hub: own, port, refusals } = await serve({ trustProxy: wrong(async () => trusted) })
    const client = new RawClient(port)
    client.socket.write(handshake(['X-Forwarded-For: 1.1.1.1']))
    await client.hungUp()
    expect(refusals.all).toEqual([expect.objectContaining(asynchronous('trustProxy'))])
    expect(own.size).toBe(0)
  })

  it.each(['rooms', 'stamp'])('is refused as %s of a history', async (name) => {
    const errors: unknown[] = []
    const own = new Hub({
      onError: (error) => void errors.push(error),
      history: wrong({
        store: memoryHistory(),
        rooms: () => ({}),
        stamp: (data: string) => data,
        [name]: async () => undefined,
      }),
    })
    onTestFinished(async () => {
      await own.close()
    })
    const published = await own.publish('room', 'text').catch((error: unknown) => error)
    const page = await own.history('room', { last: 1 }).catch((error: unknown) => error)
    const causes = [published, page, ...errors].map((error) => Object(error).cause ?? error)
    expect(causes).toContainEqual(expect.objectContaining(asynchronous(name)))
  })
})

describe('an object whose entries are no options', () => {
  it.each([
    ['a Map', new Map()],
    ['a Set', new Set()],
    ['a promise', Promise.resolve({})],
    ['Headers', new Headers()],
  ])('is refused by a new hub: %s', (_what, options) => {
    expect(thrownBy(() => new Hub(wrong<HubOptions>(options)))).toMatchObject({
      code: 'WSHUB_ERR_INVALID_OPTION',
    })
  })
})

describe('a value of another kind', () => {
  const code = 'WSHUB_ERR_INVALID_OPTION'

  it('is refused by attach: a server of node:net', () => {
    expect(thrownBy(() => hub.attach(wrong(createNetServer())))).toMatchObject({ code })
  })

  it.each([undefined, null, {}, 'req'])('is refused as a request: %j', (req) => {
    expect(thrownBy(() => hub.upgrade(wrong(req), {}))).toMatchObject({ code })
    expect(thrownBy(() => Handshake.bearerToken(wrong(req)))).toMatchObject({ code })
    expect(thrownBy(() => Handshake.validateRequest(wrong(req)))).toMatchObject({ code })
  })

  it('is refused as init.protocol: two tokens', () => {
    expect(upgraded({ protocol: 'a, b' })).toMatchObject({ code })
  })

  it('is refused as the key of setMetadata, and as a connection: a Proxy of one', async () => {
    const { hub: own, connect } = await serve()
    const { connection } = await connect()
    expect(thrownBy(() => connection.setMetadata(wrong<string>({ a: 1 }), undefined))).toMatchObject({ code })
    expect(thrownBy(() => connection.setMetadata(wrong<string>(undefined), 1))).toMatchObject({ code })
    expect([...connection.metadata.keys()]).toEqual([])
    expect(thrownBy(() => own.joinRoom(new Proxy(connection, {}), 'room'))).toMatchObject({
      code: 'WSHUB_ERR_FOREIGN_CONNECTION',
    })
  })
})
