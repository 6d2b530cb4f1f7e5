// Checked by `npm run types`, and never run: the calls that the types allow, and those that they refuse.
import { createServer, type IncomingMessage } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import { expectTypeOf } from 'vitest'
import { WebSocket } from 'ws'
import {
  type Answer,
  type Backplane,
  type BackplaneState,
  type BinaryPayload,
  type CallResult,
  type CloseCause,
  CloseCode,
  type CloseParty,
  type CloseReason,
  type CloseResult,
  type Cluster,
  type Connection,
  type ConnectionState,
  type ConnectionSummary,
  type CountAnswer,
  type DropCount,
  type Dropped,
  type DropReason,
  type EventHandler,
  Frame,
  Handshake,
  Hub,
  type HubDiagnostics,
  HubError,
  type HubErrorCode,
  type HubState,
  type HubStats,
  type HubSummary,
  type Message,
  type Metadata,
  type NodeInfo,
  Opcode,
  type Payload,
  type ResolvedHubOptions,
  type SendOptions,
} from 'wshub'
import { wsHub as expressHub, type WsHubMiddleware } from 'wshub/express'
import { wsHub as koaHub } from 'wshub/koa'
import {
  type CloseInfo,
  type ConnectOptions,
  connect,
  type TestClient,
  UpgradeRefusedError,
} from 'wshub/testing'

interface Meta {
  userId: string
  age: number
  nickname?: string
}

declare const req: IncomingMessage
declare const connection: Connection
declare const typed: Connection<Meta>
declare const hub: Hub
declare const typedHub: Hub<Meta>
declare const backplane: Backplane

// Handlers

const everything: EventHandler<Meta> = {
  async onOpen(conn) {
    expectTypeOf(conn).toEqualTypeOf<Connection<Meta>>()
  },
  onMessage(conn, message) {
    expectTypeOf(conn).toEqualTypeOf<Connection<Meta>>()
    expectTypeOf(message).toEqualTypeOf<Message>()
  },
  async onClose(conn, code, reason, cause) {
    expectTypeOf(conn).toEqualTypeOf<Connection<Meta>>()
    expectTypeOf(code).toEqualTypeOf<number>()
    expectTypeOf(reason).toEqualTypeOf<string>()
    expectTypeOf(cause).toEqualTypeOf<CloseCause>()
  },
  onError(_conn, error) {
    expectTypeOf(error).toEqualTypeOf<Error>()
  },
  async onDrop(conn, dropped) {
    expectTypeOf(conn).toEqualTypeOf<Connection<Meta>>()
    expectTypeOf(dropped).toEqualTypeOf<Dropped>()
  },
  onPing(_conn, payload) {
    expectTypeOf(payload).toEqualTypeOf<Buffer>()
  },
  onPong(_conn, payload) {
    expectTypeOf(payload).toEqualTypeOf<Buffer>()
  },
}
expectTypeOf({}).toExtend<EventHandler>()
expectTypeOf(everything).toExtend<EventHandler<Meta>>()
/** The result of a callback does not matter: `(conn) => conn.sendText('…')` is a handler. */
export const terse: EventHandler = { onOpen: (conn) => conn.sendText('hello') }
// @ts-expect-error no callback of that name
export const misspelt: EventHandler = { onOpened() {} }
// @ts-expect-error a callback is a function
export const notAFunction: EventHandler = { onOpen: 'hello' }
// @ts-expect-error a callback of a parameter that it is not given
export const greedy: EventHandler = { onOpen(_conn, _request: IncomingMessage) {} }

// Metadata

expectTypeOf(typed.getMetadata('userId')).toEqualTypeOf<string | undefined>()
expectTypeOf(typed.getMetadata('age')).toEqualTypeOf<number | undefined>()
expectTypeOf(typed.metadata.get('age')).toEqualTypeOf<number | undefined>()
expectTypeOf(typed.metadata).toExtend<ReadonlyMap<string, unknown>>()
expectTypeOf(typed.setMetadata('userId', 'u1')).toEqualTypeOf<void>()
typed.metadata.set('age', 1).set('userId', 'u1')
// @ts-expect-error the value of another key
typed.setMetadata('age', 'old')
// @ts-expect-error likewise
typed.metadata.set('userId', 1)
// @ts-expect-error a key that Meta does not have
typed.setMetadata('email', 'a@example.com')
// @ts-expect-error likewise
typed.getMetadata('email')
// @ts-expect-error likewise
typed.metadata.get('email')
expectTypeOf<Metadata>().toEqualTypeOf<object>()
expectTypeOf(connection.getMetadata('anything')).toBeUnknown()
connection.setMetadata('anything', { at: 'all' })
// @ts-expect-error Meta is an object
export type Wrong = Connection<string>

// Payloads

expectTypeOf<Payload>().toEqualTypeOf<string | Buffer | Uint8Array | ArrayBuffer>()
expectTypeOf<BinaryPayload>().toEqualTypeOf<Buffer | Uint8Array | ArrayBuffer>()
expectTypeOf(hub.broadcast('text')).toEqualTypeOf<number>()
hub.broadcast(Buffer.from('bytes'))
hub.broadcastExcept(new Uint8Array(1), connection.id)
hub.broadcastToRoom('room', new ArrayBuffer(1))
hub.broadcastToRoomExcept(['room', 'other'] as const, 'text', connection.id)
// @ts-expect-error an object is no payload
hub.broadcast({ type: 'chat' })
// @ts-expect-error nor is an array
hub.broadcastExcept([1, 2], connection.id)
// @ts-expect-error nor is a number
hub.broadcastToRoom('room', 1)
// @ts-expect-error nor is null
hub.broadcastToRoomExcept('room', null, connection.id)
// @ts-expect-error nor is a whole message
connection.sendText({ type: 'text', data: 'hello' })
// @ts-expect-error text is no bytes
connection.sendBinary('text')
// @ts-expect-error bytes are no text
connection.sendText(Buffer.from('bytes'))
// @ts-expect-error an object is no payload of a ping either
connection.sendPing({})
expectTypeOf(connection.sendText('text')).toEqualTypeOf<boolean>()
expectTypeOf(connection.sendBinary(new Uint8Array(1))).toEqualTypeOf<boolean>()
expectTypeOf(connection.sendPing()).toEqualTypeOf<boolean>()
expectTypeOf(connection.sendPong('payload')).toEqualTypeOf<boolean>()

// How a message is sent

expectTypeOf<SendOptions>().toEqualTypeOf<{
  key?: string | undefined
  volatile?: boolean | undefined
  urgent?: boolean | undefined
}>()
/** An explicit `undefined` means the default, also under exactOptionalPropertyTypes. */
connection.sendText('text', { key: undefined, volatile: undefined, urgent: undefined })
expectTypeOf(connection.sendText('text', { key: 'price' })).toEqualTypeOf<boolean>()
expectTypeOf(connection.sendBinary(new Uint8Array(1), { volatile: true })).toEqualTypeOf<boolean>()
expectTypeOf(hub.broadcast('text', { key: 'price', volatile: true })).toEqualTypeOf<number>()
hub.broadcastExcept('text', connection.id, { volatile: true })
hub.broadcast('text', { urgent: true, local: true })
expectTypeOf(hub.publish('room', 'text', { urgent: true })).resolves.toEqualTypeOf<{ position: string }>()
hub.broadcastToRoom('room', 'text', { key: 'price' })
hub.broadcastToRoomExcept(['room', 'other'], 'text', connection.id, { key: 'price' })
// @ts-expect-error a key is a string
hub.broadcast('text', { key: 7 })
// @ts-expect-error an option that does not exist
connection.sendText('text', { compress: true })
// @ts-expect-error a message is volatile or not
connection.sendBinary(new Uint8Array(1), { volatile: 'yes' })
// @ts-expect-error the id to leave out comes before the options
hub.broadcastExcept('text', { volatile: true })
// @ts-expect-error a ping is neither dropped nor replaced
connection.sendPing('payload', { volatile: true })

// Dropped messages

expectTypeOf<DropReason>().toEqualTypeOf<
  'dropNewest' | 'dropOldest' | 'conflate' | 'resync' | 'volatile' | 'overflow' | 'closed'
>()
expectTypeOf<DropCount>().toEqualTypeOf<{ messages: number; bytes: number }>()
expectTypeOf<Dropped>().toExtend<Readonly<DropCount>>()
expectTypeOf<Dropped['reason']>().toEqualTypeOf<DropReason>()
expectTypeOf(connection.dropped).toEqualTypeOf<Readonly<DropCount>>()
expectTypeOf(hub.dropped).toEqualTypeOf<Readonly<Record<DropReason, Readonly<DropCount>>>>()
expectTypeOf(hub.dropped.volatile.messages).toEqualTypeOf<number>()
// @ts-expect-error what was counted does not change
connection.dropped.messages = 0
// @ts-expect-error likewise
hub.dropped.overflow.bytes = 0
// @ts-expect-error no such reason
hub.dropped.slow

// Flow control

expectTypeOf(connection.pause()).toEqualTypeOf<void>()
expectTypeOf(connection.resume()).toEqualTypeOf<void>()
expectTypeOf(connection).toExtend<AsyncIterable<Message>>()
export async function consume(): Promise<void> {
  for await (const message of typed) expectTypeOf(message).toEqualTypeOf<Message>()
}

// Messages

export function narrow(message: Message): number {
  if (message.type === 'text') {
    expectTypeOf(message.data).toEqualTypeOf<string>()
    return message.data.length
  }
  expectTypeOf(message.type).toEqualTypeOf<'binary'>()
  expectTypeOf(message.data).toEqualTypeOf<Buffer>()
  // A message can be passed on as it was received.
  hub.broadcast(message.data)
  return message.data.byteLength
}
// @ts-expect-error no third type
export const third: Message = { type: 'ping', data: '' }

// Connections

expectTypeOf(connection.hub).toEqualTypeOf<Hub>()
expectTypeOf(typed.hub).toEqualTypeOf<Hub<Meta>>()
expectTypeOf(connection.id).toEqualTypeOf<string>()
expectTypeOf(connection.state).toEqualTypeOf<ConnectionState>()
expectTypeOf<ConnectionState>().toEqualTypeOf<'connecting' | 'open' | 'closing' | 'closed'>()
expectTypeOf(connection.rooms).toEqualTypeOf<ReadonlySet<string>>()
expectTypeOf(connection.openedAt).toEqualTypeOf<number>()
expectTypeOf(connection.lastPingTime).toEqualTypeOf<number>()
expectTypeOf(connection.lastPongTime).toEqualTypeOf<number>()
expectTypeOf(connection.protocol).toEqualTypeOf<string>()
expectTypeOf(connection.remoteAddress).toEqualTypeOf<string | undefined>()
expectTypeOf(connection.bufferedBytes).toEqualTypeOf<number>()
expectTypeOf(connection.inRoom('room')).toEqualTypeOf<boolean>()
expectTypeOf(connection.close(CloseCode.normal, 'done')).toEqualTypeOf<boolean>()
expectTypeOf(connection.close(4000)).toEqualTypeOf<boolean>()
expectTypeOf(connection.terminate()).toEqualTypeOf<void>()
// @ts-expect-error an id does not change
connection.id = 'another'
// @ts-expect-error rooms are joined through the hub
connection.rooms.add('room')

// The hub

expectTypeOf(new Hub()).toEqualTypeOf<Hub>()
expectTypeOf(hub.size).toEqualTypeOf<number>()
expectTypeOf(hub.state).toEqualTypeOf<HubState>()
expectTypeOf(hub.connections()).toEqualTypeOf<Connection[]>()
expectTypeOf(typedHub.getConnection('id')).toEqualTypeOf<Connection<Meta> | undefined>()
expectTypeOf(hub.joinRoom(connection, 'room')).toEqualTypeOf<boolean>()
expectTypeOf(hub.leaveRoom(connection, ['room'])).toEqualTypeOf<boolean>()
expectTypeOf(hub.roomSize(['room', 'other'])).toEqualTypeOf<number>()
expectTypeOf(hub.rooms()).toEqualTypeOf<string[]>()
expectTypeOf(typedHub.members('room')).toEqualTypeOf<Connection<Meta>[]>()
expectTypeOf(hub.attach(createServer())).toEqualTypeOf<() => void>()
expectTypeOf(hub.attach(createSecureServer())).toEqualTypeOf<() => void>()
expectTypeOf(hub.attach()).toEqualTypeOf<() => void>()
expectTypeOf(hub.close({ code: 1001, reason: 'bye', timeoutMs: 0 })).toEqualTypeOf<Promise<CloseResult>>()
expectTypeOf(hub.close({ batch: 100, everyMs: 20, code: undefined })).toEqualTypeOf<Promise<CloseResult>>()
expectTypeOf(hub.stats()).toEqualTypeOf<HubStats>()
expectTypeOf(hub.stats().closeReasons).toEqualTypeOf<Readonly<Record<CloseReason, number>>>()
expectTypeOf<HubDiagnostics['wshub:close']['cause']>().toEqualTypeOf<CloseCause>()
expectTypeOf<CloseCause>().toEqualTypeOf<{
  readonly by: CloseParty
  readonly reason: CloseReason
  readonly code: number
  readonly error?: Error
  readonly openMs: number
}>()
expectTypeOf<CloseParty>().toEqualTypeOf<'client' | 'hub' | 'application' | 'network'>()
// @ts-expect-error a reason that does not exist
export const unreasonable: CloseReason = 'bored'
expectTypeOf(hub.disconnect('room', 4000, 'bye')).toEqualTypeOf<number>()
typedHub.disconnect((conn) => conn.getMetadata('userId') === 'u1')
typed.renew(new Date())
typed.renew(undefined)
expectTypeOf(typed.expiresAt).toEqualTypeOf<number | undefined>()
expectTypeOf<HubDiagnostics['wshub:upgrade:refused']['error']>().toEqualTypeOf<HubError>()
expectTypeOf(hub.upgrade(req, {})).toEqualTypeOf<Promise<Connection>>()
expectTypeOf(hub.register(new WebSocket('ws://127.0.0.1'), {})).toEqualTypeOf<Connection>()
typedHub.upgrade(req, everything, {
  metadata: { userId: 'u1' },
  protocol: 'chat',
  headers: { 'X-Count': 1, 'Set-Cookie': ['a=1', 'b=2'] },
})
// @ts-expect-error metadata of another type
typedHub.upgrade(req, everything, { metadata: { userId: 1 } })
// @ts-expect-error a key that Meta does not have
typedHub.upgrade(req, everything, { metadata: { email: 'a@example.com' } })
// @ts-expect-error an option of a route that does not exist
typedHub.upgrade(req, everything, { meta: { userId: 'u1' } })
// @ts-expect-error a room is a string
hub.joinRoom(connection, 1)
hub.broadcastExcept('text', connection)
hub.broadcastExcept('text', typed, { except: [typed, 'node.0'], exceptRooms: ['room'] as const, local: true })
hub.broadcastToRoom('room', 'text', { except: undefined, exceptRooms: undefined, local: undefined })
hub.sendTo(typed, 'text')
// @ts-expect-error several connections go into the option
hub.broadcastExcept('text', [connection])
// @ts-expect-error a message to one connection leaves nobody out
hub.sendTo('id', 'text', { except: connection })
// @ts-expect-error likewise
connection.sendText('text', { local: true })
// @ts-expect-error a connection is made by a hub from a WebSocket
hub.register({}, {})

expectTypeOf(hub.options).toEqualTypeOf<ResolvedHubOptions>()
expectTypeOf(hub.options.limits.maxPendingUpgrades).toEqualTypeOf<number>()
new Hub(hub.options)
// @ts-expect-error options do not change
hub.options.maxConnections = 1
expectTypeOf(hub.toJSON()).toEqualTypeOf<HubSummary>()
expectTypeOf(connection.toJSON()).toEqualTypeOf<ConnectionSummary>()

// The cluster

expectTypeOf(hub.sendTo('id', 'text', { key: 'k', volatile: true })).toEqualTypeOf<boolean>()
hub.broadcastToRoomExcept('room', 'text', 'id', { key: 'k' })
// @ts-expect-error an object is no payload
hub.sendTo('id', {})
// @ts-expect-error misspelt
hub.broadcast('text', { keys: 'k' })
expectTypeOf(hub.cluster).toEqualTypeOf<Cluster>()
expectTypeOf(hub.cluster.state).toEqualTypeOf<BackplaneState>()
expectTypeOf(hub.cluster.node).toEqualTypeOf<string>()
expectTypeOf(hub.cluster.ready()).toEqualTypeOf<Promise<void>>()
expectTypeOf(hub.cluster.stats().lost).toEqualTypeOf<number>()
expectTypeOf(hub.cluster.roomSize(['room'])).toEqualTypeOf<Promise<CountAnswer>>()
expectTypeOf(typedHub.cluster.members('room', { timeoutMs: 1 })).toEqualTypeOf<
  Promise<Answer<{ readonly id: string; readonly metadata: Partial<Meta> }>>
>()
expectTypeOf(hub.cluster.connections()).resolves.toHaveProperty('missing').toEqualTypeOf<string[]>()
expectTypeOf(hub.cluster.nodes()).toEqualTypeOf<Promise<Answer<NodeInfo>>>()
expectTypeOf(hub.cluster.join({ id: ['id'] }, 'room')).toEqualTypeOf<Promise<CountAnswer>>()
expectTypeOf(hub.cluster.leave({ room: 'room' }, ['room'])).toEqualTypeOf<Promise<CountAnswer>>()
expectTypeOf(hub.cluster.disconnect({ all: true }, 1012, 'bye')).toEqualTypeOf<Promise<CountAnswer>>()
expectTypeOf(hub.cluster.call('name', Buffer.from('x'))).toEqualTypeOf<Promise<Answer<CallResult>>>()
hub.cluster.handle('name', (payload, node) => {
  expectTypeOf(payload).toEqualTypeOf<string | Buffer>()
  expectTypeOf(node).toEqualTypeOf<string>()
})
hub.cluster.handle('name', async () => new Uint8Array(1))
// @ts-expect-error an object is no answer
hub.cluster.handle('name', () => ({}))
// @ts-expect-error an object is no payload
hub.cluster.call('name', {})
// @ts-expect-error not all is nobody
hub.cluster.disconnect({ all: false })
// @ts-expect-error a selector is not a room's name
hub.cluster.disconnect('room')
// @ts-expect-error a backplane has more than that
new Hub({ backplane: { start() {} } })
// @ts-expect-error misspelt
new Hub({ cluster: { heartbeatInterval: 1 } })
// @ts-expect-error a heartbeat has an interval
new Hub({ heartbeat: {} })

// Errors, codes, frames, handshakes

declare const error: HubError
expectTypeOf(error).toExtend<Error>()
expectTypeOf(error.code).toEqualTypeOf<HubErrorCode>()
expectTypeOf(error.status).toEqualTypeOf<number>()
expectTypeOf(error.statusCode).toEqualTypeOf<number>()
expectTypeOf(error.expose).toEqualTypeOf<boolean>()
expectTypeOf(error.headers).toEqualTypeOf<Readonly<Record<string, string>>>()
expectTypeOf(error.closeCode).toEqualTypeOf<number | undefined>()
expectTypeOf<'WSHUB_ERR_ORIGIN'>().toExtend<HubErrorCode>()
// @ts-expect-error no such code
new HubError('WSHUB_ERR_NOTHING', 'message')

expectTypeOf(CloseCode.goingAway).toEqualTypeOf<1001>()
expectTypeOf<1013>().toExtend<CloseCode>()
expectTypeOf<1004>().not.toExtend<CloseCode>()
expectTypeOf(Opcode.binary).toEqualTypeOf<2>()
expectTypeOf<3>().not.toExtend<Opcode>()
// @ts-expect-error a code does not change
CloseCode.normal = 1001

expectTypeOf(Frame.text('hello')).toEqualTypeOf<Frame>()
expectTypeOf(Frame.text('hello').encode()).toEqualTypeOf<Buffer>()
expectTypeOf(Frame.decode(Buffer.alloc(2))).toEqualTypeOf<{ frame: Frame; bytes: number } | null>()
expectTypeOf(Handshake.validateRequest(req)).toEqualTypeOf<boolean>()
expectTypeOf(Handshake.generateAcceptKey('key')).toEqualTypeOf<string>()
expectTypeOf(Handshake.bearerToken(req)).toEqualTypeOf<string | undefined>()
expectTypeOf(Handshake.createResponse('key', { protocol: 'chat' })).toEqualTypeOf<string>()

// Mounts; the frameworks' own types are in test/package/consumer/frameworks.mts

expectTypeOf(expressHub({ hub })).toEqualTypeOf<WsHubMiddleware>()
expectTypeOf(expressHub().hub).toEqualTypeOf<Hub>()
expectTypeOf(koaHub({ maxConnections: 1 }).hub).toEqualTypeOf<Hub>()
// @ts-expect-error misspelt
expressHub({ maxConnection: 1 })
// @ts-expect-error misspelt
koaHub({ maxConnection: 1 })
// @ts-expect-error no hub
koaHub({ hub: {} })

// The test client; the frameworks' own types are in test/package/consumer/frameworks.mts

declare const client: TestClient
expectTypeOf(connect(createServer(), '/ws')).toEqualTypeOf<Promise<TestClient>>()
connect(createSecureServer(), new URL('wss://app.example.com/ws'))
connect((_req, res) => res.end(), '/ws', { headers: { cookie: 'sid=1' }, protocols: ['chat'] as const })
connect(async (incoming: IncomingMessage) => void (await hub.upgrade(incoming, {})), '/ws')
/** An explicit `undefined` means the default. */
export const connectOptions: Required<ConnectOptions> = {
  headers: undefined,
  protocols: undefined,
  perMessageDeflate: undefined,
  remoteAddress: undefined,
  timeoutMs: undefined,
}
// @ts-expect-error a hub is no application
connect(hub, '/ws')
// @ts-expect-error misspelt
connect(createServer(), '/ws', { timeout: 1 })
expectTypeOf(client.next()).toEqualTypeOf<Promise<Message>>()
expectTypeOf(client.closed).toEqualTypeOf<Promise<CloseInfo>>()
expectTypeOf(client.close(1000, 'done')).toEqualTypeOf<Promise<CloseInfo>>()
expectTypeOf(client.send(new Uint8Array(1))).toEqualTypeOf<boolean>()
expectTypeOf(client.response).toEqualTypeOf<IncomingMessage>()
expectTypeOf(client).toExtend<AsyncIterable<Message>>()
// @ts-expect-error an object is no payload
client.send({ type: 'chat' })
export function statusOf(error: unknown): number | undefined {
  return error instanceof UpgradeRefusedError ? error.status : undefined
}
