/**
 * The server of the soak: a hub that does what clients ask for, and an account of all messages for each
 * connection.
 */
import { createHook } from 'node:async_hooks'
import { createServer, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { type Connection, type EventHandler, Hub, HubError } from 'wshub'
import type { Account, Command, Snapshot } from './protocol.ts'

/** All timers, also those that do not keep the process alive. */
const timers = new Set<number>()
createHook({
  init: (id, type) => void (type === 'Timeout' && timers.add(id)),
  destroy: (id) => void timers.delete(id),
}).enable()

const FLOOD = Buffer.alloc(65_536)

const hub = new Hub({
  slowConsumer: 'dropNewest',
  maxBufferedBytes: 262_144,
  pingIntervalMs: 1_000,
  // On a busy machine, clients may answer late.
  pongTimeoutMs: 60_000,
  closeTimeoutMs: 60_000,
  enableCompression: true,
  limits: { maxMessagesPerSecond: 500 },
})
const accounts = new Map<string, Account>()

const handler: EventHandler = {
  onOpen(connection) {
    const account: Account = {
      id: connection.id,
      attempts: 0,
      dropped: 0,
      heard: 0,
      code: 0,
      reason: '',
      isGraceful: false,
    }
    accounts.set(connection.id, account)
    send(connection, connection.id)
  },
  onMessage(connection, message) {
    const account = accounts.get(connection.id)
    if (account === undefined || message.type !== 'text') return
    account.heard++
    const [verb, argument = ''] = message.data.split(' ')
    if (verb === 'join') hub.joinRoom(connection, argument)
    else if (verb === 'leave') hub.leaveRoom(connection, argument)
    else if (verb === 'say') toRoom(argument, message.data)
    else if (verb === 'flood') for (let i = 0; i < 100; i++) send(connection, FLOOD)
    else if (verb === 'bye') {
      account.isGraceful = account.heard === Number(argument)
      connection.close(4_000, String(account.heard))
    }
  },
  onDrop(connection, dropped) {
    const account = accounts.get(connection.id)
    if (account !== undefined) account.dropped += dropped.messages
  },
  onClose(connection, code, reason) {
    const account = accounts.get(connection.id)
    accounts.delete(connection.id)
    if (account !== undefined) process.send?.({ account: { ...account, code, reason } })
  },
  onError() {}, // of clients that are cut within a frame
}

/** Counts the attempt if the connection is open: then the message is either sent or reported as dropped. */
function attempt(connection: Connection): void {
  const account = accounts.get(connection.id)
  if (account !== undefined && connection.state === 'open') account.attempts++
}

function send(connection: Connection, data: string | Buffer): void {
  attempt(connection)
  if (typeof data === 'string') connection.sendText(data)
  else connection.sendBinary(data)
}

function toRoom(room: string, data: string): void {
  for (const member of hub.members(room)) attempt(member)
  hub.broadcastToRoom(room, data)
}

let requests = 0
const collected = new FinalizationRegistry<undefined>(() => {
  requests--
})
/** Answers the request when the next one of the socket has arrived. */
const nextAnswers = new WeakMap<Socket, ServerResponse>()

const server = createServer((req, res) => {
  requests++
  collected.register(req, undefined)
  res.sendDate = false // Node caches the date for a second, with a timer
  if (req.url === '/next') {
    nextAnswers.get(req.socket)?.end()
    nextAnswers.set(req.socket, res)
    return
  }
  try {
    hub.upgrade(req, handler)
  } catch (error) {
    if (!(error instanceof HubError)) throw error
    res.writeHead(error.status, error.headers).end(error.message)
  }
})
hub.attach(server)
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  if (address !== null && typeof address !== 'string') process.send?.({ port: address.port })
})

const ticking = setInterval(() => {
  for (const connection of hub.connections()) attempt(connection)
  hub.broadcast(`tick ${'x'.repeat(700)}`) // long enough to be compressed
  const rooms = hub.rooms()
  const room = rooms[Math.floor(Math.random() * rooms.length)]
  if (room !== undefined) toRoom(room, `news of ${room}`)
}, 200)

const turn = () => new Promise((resolve) => setImmediate(resolve))

/** Returns the objects that are left after a garbage collection. */
async function snapshot(): Promise<Snapshot> {
  const { gc } = globalThis
  if (gc === undefined) throw new Error('the soak needs node --expose-gc')
  for (let i = 0; i < 10; i++) {
    await turn()
    gc()
  }
  const listeners = (emitter: NodeJS.EventEmitter) =>
    emitter.eventNames().reduce((sum, name) => sum + emitter.listenerCount(name), 0)
  return {
    heapBytes: process.memoryUsage().heapUsed,
    resources: process.getActiveResourcesInfo().sort(),
    timers: timers.size,
    rooms: hub.rooms().length,
    accounts: accounts.size,
    requests,
    listeners: listeners(server) + listeners(process),
    stats: hub.stats(),
  }
}

process.on('disconnect', () => process.exit()) // also when the process that runs the soak was killed
process.on('message', async (command: Command) => {
  if (command === 'snapshot') {
    process.send?.({ snapshot: await snapshot() })
    return
  }
  clearInterval(ticking)
  await hub.close()
  server.close()
  process.disconnect()
})
