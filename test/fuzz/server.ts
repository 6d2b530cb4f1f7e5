/** The attacked process: a hub behind a server of node:http, which reports its state to its parent. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { setImmediate as turn } from 'node:timers/promises'
import {
  type Connection,
  type EventHandler,
  Hub,
  HubError,
  type HubErrorCode,
  MemoryBackplane,
  MemoryBus,
} from 'wshub'

/** The state of the process after a garbage collection. */
export interface Audit {
  /** Connections of the hub, and TCP connections of the server. */
  connections: number
  sockets: number
  rooms: number
  /** Requests that something still refers to. */
  requests: number
  opened: number
  closed: number
  /** The ticks broadcast so far. */
  ticks: number
  heapBytes: number
  /** The largest size of heap and buffers together. */
  peakBytes: number
  /** Envelopes that the hub of the cluster received. */
  envelopes: number
  /** Errors passed to `onError`, by code. */
  errors: Partial<Record<HubErrorCode, number>>
  /** Refusals before the 101, by code. */
  refusals: Partial<Record<HubErrorCode, number>>
}

export type FromServer =
  | { type: 'listening'; port: number }
  | { type: 'audit'; audit: Audit }
  | { type: 'unexpected'; what: string }

const TICK_MS = 10
const REPORTED = 5
const LARGE_CHUNK = Buffer.alloc(50_000, 'x')

/** Errors that a client may cause on an open connection. Any other error is a bug of the hub. */
const CLIENT_FAULTS: ReadonlySet<HubErrorCode> = new Set<HubErrorCode>([
  'WSHUB_ERR_PROTOCOL',
  'WSHUB_ERR_INVALID_DATA',
  'WSHUB_ERR_MESSAGE_TOO_BIG',
  'WSHUB_ERR_TOO_MANY_FRAGMENTS',
  'WSHUB_ERR_SLOW_CONSUMER',
  'WSHUB_ERR_RATE_LIMIT', // more pings than the client reads pongs
])
/** Errors that a node of the cluster may cause. */
const NODE_FAULTS: ReadonlySet<HubErrorCode> = new Set<HubErrorCode>([
  'WSHUB_ERR_ENVELOPE',
  'WSHUB_ERR_ENVELOPE_VERSION',
])
/** How long a connection of `/paused` is paused. */
const PAUSE_MS = 50
/**
 * The bytes that may wait for it by then: reads of 64 KiB and a few messages, not all that they inflate to.
 */
const MAX_WAITING_BYTES = 524_288

const hub = new Hub({
  enableCompression: true,
  protocols: ['chat'],
  pingIntervalMs: 1_000,
  pongTimeoutMs: 2_000,
  openTimeoutMs: 2_000,
  closeTimeoutMs: 1_000,
  limits: { upgradeTimeoutMs: 2_000 },
  trustProxy: 1,
  proxyHeader: 'forwarded',
})
/**
 * A hub of a cluster, in which the client behind `/envelope` is another node. It has no connections that this
 * client could close.
 */
const bus = new MemoryBus()
const clustered = new Hub({
  backplane: new MemoryBackplane(bus),
  onError(error) {
    if (!(error instanceof HubError) || !NODE_FAULTS.has(error.code)) unexpected(String(error.stack))
    else errors[error.code] = (errors[error.code] ?? 0) + 1
  },
})
const node = new MemoryBackplane(bus)
void node.start({ onMessage() {}, onStateChange() {}, onError() {} })

const alive = new Set<Connection>()
const errors: Audit['errors'] = {}
const refusals: Audit['refusals'] = {}
let opened = 0
let closed = 0
let ticks = 0
let envelopes = 0
let requests = 0
let peakBytes = 0
let reported = 0
/** Answers the request when the next one of the socket has arrived. */
const nextAnswers = new WeakMap<Socket, ServerResponse>()
const collected = new FinalizationRegistry<undefined>(() => {
  requests--
})

function tell(message: FromServer): void {
  process.send?.(message)
}

function unexpected(what: string): void {
  if (reported++ < REPORTED) tell({ type: 'unexpected', what })
}

const handler: EventHandler = {
  onOpen(connection) {
    alive.add(connection)
    opened++
  },
  onMessage(connection, message) {
    if (message.type === 'binary') {
      connection.sendBinary(message.data)
    } else if (message.data.startsWith('join')) {
      hub.joinRoom(connection, ['fuzz', message.data.slice(0, 50)])
      hub.broadcastToRoom('fuzz', message.data)
    } else {
      connection.sendText(message.data)
    }
  },
  onClose(connection, code, reason) {
    closed++
    if (!alive.delete(connection)) unexpected(`onClose ran twice, or without onOpen: ${code} ${reason}`)
    if (connection.state !== 'closed') unexpected(`onClose ran in the state ${connection.state}`)
  },
  onError(_connection, error) {
    if (!(error instanceof HubError) || !CLIENT_FAULTS.has(error.code)) unexpected(String(error.stack))
    else errors[error.code] = (errors[error.code] ?? 0) + 1
  },
}
const asyncHandler: EventHandler = {
  ...handler,
  async onOpen(connection) {
    handler.onOpen?.(connection)
    await turn()
  },
}

/** Pauses for a while at the first message. Messages that were read together with it have to wait. */
function pausing(): EventHandler {
  let hasPaused = false
  return {
    ...handler,
    onMessage(connection) {
      if (hasPaused) return
      hasPaused = true
      connection.pause()
      setTimeout(() => {
        const { bufferedBytes } = connection
        if (bufferedBytes > MAX_WAITING_BYTES)
          unexpected(`${bufferedBytes} bytes waited for a paused connection`)
        connection.resume()
      }, PAUSE_MS)
    },
  }
}

/** Publishes the body of a request, as a node of the cluster could. */
async function publish(req: IncomingMessage, res: ServerResponse): Promise<void> {
  try {
    node.publish('wshub.c', await buffer(req))
    envelopes++
    res.end()
  } catch {
    res.destroy() // the client disconnected in the middle
  }
}

function upgrade(req: IncomingMessage, res: ServerResponse, chosen = handler): void {
  try {
    void hub.upgrade(req, chosen)
  } catch (error) {
    if (!(error instanceof HubError) || error.status === 500) {
      unexpected(error instanceof Error ? String(error.stack) : String(error))
      res.writeHead(500).end()
      return
    }
    refusals[error.code] = (refusals[error.code] ?? 0) + 1
    res.writeHead(error.status, error.headers).end(error.message)
  }
}

const server = createServer((req, res) => {
  requests++
  collected.register(req, undefined)
  switch (req.url) {
    case '/':
      return upgrade(req, res)
    case '/async':
      return upgrade(req, res, asyncHandler)
    case '/paused':
      return upgrade(req, res, pausing())
    case '/envelope':
      return void publish(req, res)
    case '/late':
      setImmediate(() => upgrade(req, res))
      return
    case '/refuse':
      res.writeHead(403).end('no')
      return
    case '/broken':
      // Does what a reset of the client does to a response that is being written, but every time.
      req.socket.destroy(new Error('reset'))
      return
    case '/http':
      res.end('hello')
      return
    case '/slow':
      setTimeout(() => res.end('hello'), 5)
      return
    case '/next':
      nextAnswers.get(req.socket)?.end('hello')
      nextAnswers.set(req.socket, res)
      return
    case '/large':
      // Most clients disconnect before they have read it.
      Readable.from(Array.from({ length: 20 }, () => LARGE_CHUNK)).pipe(res)
      return
    case '/events': {
      const events = setInterval(() => res.write('data: tick\n\n'), TICK_MS)
      req.on('close', () => clearInterval(events))
      return
    }
    case '/smuggled':
      unexpected('a body was taken for a request')
      res.end()
      return
    default:
      res.writeHead(404).end()
  }
})
// Node does not always notice a reset after an answered request: this ends the connection then.
server.keepAliveTimeout = 500
hub.attach(server)

// A leak of listeners causes a warning.
process.on('warning', (warning) => unexpected(String(warning.stack)))
process.on('disconnect', () => process.exit())
process.on('message', () => {
  void audit().then((result) => tell({ type: 'audit', audit: result }))
})

async function audit(): Promise<Audit> {
  if (clustered.cluster.state !== 'connected') unexpected(`the cluster is ${clustered.cluster.state}`)
  for (let i = 0; i < 3; i++) {
    global.gc?.()
    await turn()
  }
  const sockets = await new Promise<number>((resolve, reject) => {
    server.getConnections((error, count) => (error === null ? resolve(count) : reject(error)))
  })
  return {
    connections: hub.size,
    sockets,
    rooms: hub.rooms().length,
    requests,
    opened,
    closed,
    ticks,
    envelopes,
    heapBytes: usedBytes(),
    peakBytes,
    errors,
    refusals,
  }
}

function usedBytes(): number {
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

setInterval(() => {
  peakBytes = Math.max(peakBytes, usedBytes())
  if (hub.size > 0) hub.broadcast(`tick ${ticks++}`)
}, TICK_MS).unref()

server.listen(0, '127.0.0.1', () => {
  tell({ type: 'listening', port: (server.address() as AddressInfo).port }) // the server listens on TCP
})
