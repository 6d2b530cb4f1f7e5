import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { Server as HttpServer, type IncomingMessage, ServerResponse, STATUS_CODES } from 'node:http'
import { Server as HttpsServer } from 'node:https'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { HubError } from './errors.ts'
import { hasBody, isWebSocketUpgrade, listIncludes } from './handshake.ts'

/** A server that hands over upgrades: of `node:http` or `node:https`, whatever framework listens on it. */
export type UpgradeServer = HttpServer | HttpsServer

/** An upgrade between the `upgrade` event and the 101 or the plain answer. */
export interface PendingUpgrade {
  /** The socket of the request. A duplex stream that was injected into the server may lack what is optional here. */
  readonly socket: Duplex & Partial<Pick<Socket, 'remoteAddress' | 'bytesRead' | 'bytesWritten'>>
  /** What the client sent behind its request. */
  readonly head: Buffer
  readonly response: ServerResponse
  readonly server: UpgradeServer
  /** What earlier responses on the same TCP connection had written. */
  readonly bytesWrittenBefore: number
  /** Ends the waiting for other listeners. */
  stopHolding(): void
  /** It was accepted, answered or given up: it no longer counts as pending. */
  settle(): void
  /** Takes the guards off: the socket has found its owner. */
  release(): void
}

/**
 * A server with `upgrade` listeners besides ours (Socket.IO, Vite's HMR, a proxy) may be about to answer a request that we
 * do not. So our plain answer is held back: shortly, in ms, when it is about who the client is (401, 403), since Socket.IO
 * ends what is not its own after 1,000; and long when it may only mean that the request is not ours (a 404, or the 400 of
 * Socket.IO's own request listener).
 */
const HOLD_MS = 500
const LONG_HOLD_MS = 30_000

/** Since Node 25 the body of an upgrade request is read from the request, as any other, and no part of it is in `head`. */
const IS_BODY_APART = Number(process.versions.node.split('.')[0]) >= 25

/** Node publishes `{ socket }` here for each TCP connection, before a byte of it is parsed. */
const SOCKET_CHANNEL = 'net.server.socket'

// Associations, not state: what belongs to a request, and to nothing once the request is gone. They are shared by all
// hubs because two hubs may hear of an upgrade, and the one whose route it is may not be the one that heard first.
const pendingUpgrades = new WeakMap<IncomingMessage, PendingUpgrade>()
// Whose limits hold for the upgrades of a server: those of the first of its hubs.
const bridges = new WeakMap<UpgradeServer, Set<UpgradeBridge>>()
const upgradedRequests = new WeakSet<IncomingMessage>()

/** How many upgrades may be pending, and for how long. */
export interface PendingLimits {
  readonly maxPendingUpgrades: number
  readonly upgradeTimeoutMs: number
}

/** What is refused before a route is asked. */
type RefusalCode = 'WSHUB_ERR_HUB_CLOSED' | 'WSHUB_ERR_TOO_MANY_PENDING' | 'WSHUB_ERR_UPGRADE_TIMEOUT'

/** Leads the upgrades of servers into their ordinary request pipeline, for one hub. */
export class UpgradeBridge {
  readonly #limits: PendingLimits
  readonly #onRefused: (req: IncomingMessage, error: HubError) => void
  /** The hub is saying goodbye. */
  isLeaving = false
  /** What ends each pending upgrade before its time. */
  readonly #pending = new Set<(code: RefusalCode) => void>()
  /** The servers attached, each with its detach function. Bounded by the servers of the process: a closed one leaves. */
  readonly #servers = new Map<UpgradeServer, () => void>()
  #discovering = false
  readonly #discover = (message: unknown): void => {
    const server = serverOf(message)
    if (server !== undefined) this.attach(server)
  }

  /** @param onRefused hears of the upgrades that are refused here, by the limits */
  constructor(limits: PendingLimits, onRefused: (req: IncomingMessage, error: HubError) => void) {
    this.#limits = limits
    this.#onRefused = onRefused
  }

  /** Upgrades that are neither accepted nor answered yet. */
  get pendingCount(): number {
    return this.#pending.size
  }

  /**
   * Counts an upgrade as pending until it is settled.
   * @param end is called when that takes too long, or the hub is closed
   * @returns what settles it; `undefined` when there are too many already
   */
  admit(end: (code: RefusalCode) => void): (() => void) | undefined {
    const { maxPendingUpgrades, upgradeTimeoutMs } = this.#limits
    if (this.#pending.size >= maxPendingUpgrades) return undefined
    this.#pending.add(end)
    const timer =
      upgradeTimeoutMs > 0
        ? setTimeout(() => end('WSHUB_ERR_UPGRADE_TIMEOUT'), upgradeTimeoutMs).unref()
        : undefined
    return () => {
      clearTimeout(timer)
      this.#pending.delete(end)
    }
  }

  /** Answers an upgrade that the limits do not admit. */
  refuse(pending: PendingUpgrade, req: IncomingMessage, code: RefusalCode): void {
    const { maxPendingUpgrades, upgradeTimeoutMs } = this.#limits
    const messages = {
      WSHUB_ERR_HUB_CLOSED: 'the hub takes no more connections',
      WSHUB_ERR_TOO_MANY_PENDING: `more than ${maxPendingUpgrades} upgrades are pending`,
      WSHUB_ERR_UPGRADE_TIMEOUT: `the upgrade was not decided within ${upgradeTimeoutMs} ms`,
    }
    const error = new HubError(code, messages[code])
    if (endWith(pending, error)) this.#onRefused(req, error)
  }

  /** Attaches a server, once; returns the function that detaches it. */
  attach(server: UpgradeServer): () => void {
    const attached = this.#servers.get(server)
    if (attached !== undefined) return attached
    const detach = (): void => {
      this.#servers.delete(server)
      bridges.get(server)?.delete(this)
      server.off('upgrade', onUpgrade)
      server.off('close', detach)
    }
    this.#servers.set(server, detach)
    bridges.set(server, (bridges.get(server) ?? new Set()).add(this))
    // First of all listeners, so that it sees the socket before anybody has written to it.
    server.prependListener('upgrade', onUpgrade)
    server.on('close', detach)
    return detach
  }

  /**
   * Attaches every http(s) server of this process that takes a TCP connection from now on: a middleware is not told its
   * server, and the first request may be an upgrade. For a server that is not ours nothing changes: without an `upgrade`
   * listener Node gives an upgrade to the request listeners too. Only the limits on pending upgrades hold for it as well.
   * @returns the function that ends the search
   */
  discover(): () => void {
    if (!this.#discovering) subscribe(SOCKET_CHANNEL, this.#discover)
    this.#discovering = true
    return () => {
      if (this.#discovering) unsubscribe(SOCKET_CHANNEL, this.#discover)
      this.#discovering = false
    }
  }

  /** The attached servers that have stopped listening, which no event tells. */
  closingServers(): UpgradeServer[] {
    return [...this.#servers.keys()].filter((server) => !server.listening)
  }

  /** Refuses what is still pending, for which the server's own close would wait, and detaches from everything. */
  close(): void {
    for (const end of this.#pending) end('WSHUB_ERR_HUB_CLOSED')
    if (this.#discovering) unsubscribe(SOCKET_CHANNEL, this.#discover)
    this.#discovering = false
    for (const detach of this.#servers.values()) detach()
  }
}

/**
 * The upgrade that a request belongs to, still pending.
 * @throws {HubError} WSHUB_ERR_ALREADY_UPGRADED, WSHUB_ERR_NOT_ATTACHED or WSHUB_ERR_SOCKET_CLOSED
 */
export function findUpgrade(req: IncomingMessage): PendingUpgrade {
  if (upgradedRequests.has(req)) {
    throw new HubError('WSHUB_ERR_ALREADY_UPGRADED', 'this request has been upgraded already')
  }
  const pending = pendingUpgrades.get(req)
  if (pending === undefined) {
    throw new HubError(
      'WSHUB_ERR_NOT_ATTACHED',
      'the upgrade did not come through the hub: call hub.attach(server) before the server takes connections',
    )
  }
  if (isTaken(pending) || !pending.socket.readable) {
    throw new HubError('WSHUB_ERR_SOCKET_CLOSED', 'the client has gone')
  }
  return pending
}

/** Takes the socket from its HTTP response: from now on it speaks WebSocket. */
export function completeUpgrade(req: IncomingMessage, { socket, response, release }: PendingUpgrade): void {
  pendingUpgrades.delete(req)
  upgradedRequests.add(req)
  if (response.socket !== null) response.detachSocket(socket as Socket) // typed for TCP; any duplex will do
  release()
}

/**
 * Tells the middleware that waits for the end of the response (access logs, cleanups) that the 101 was it. Left waiting,
 * it would hold on to the request for as long as the connection lives, and take its end for an aborted response.
 */
export function finishResponse({ response }: PendingUpgrade): void {
  response.statusCode = 101
  response.emit('finish')
  response.emit('close')
}

/**
 * Answers for a refusal: the request is for one of our routes, so that nobody else's answer is waited for.
 */
export function claimUpgrade(req: IncomingMessage): void {
  const pending = pendingUpgrades.get(req)
  if (pending !== undefined) answerNow(pending)
}

/** The `upgrade` listener. It is one function for all hubs and servers, so that it can tell itself from others. */
function onUpgrade(this: UpgradeServer, req: IncomingMessage, stream: Duplex, head: Buffer): void {
  if (pendingUpgrades.has(req) || upgradedRequests.has(req)) return // another hub has heard it first
  const { socket } = req
  const isShared = this.listeners('upgrade').some((listener) => listener !== onUpgrade)
  const isOfWebSockets = isWebSocketUpgrade(req)
  if (!isOfWebSockets && isShared) return
  // Since Node 25 it is a stream of its own, which we do not use, and which fails with the socket.
  if (stream !== socket) stream.on('error', ignore)
  if (
    !isOfWebSockets &&
    !(IS_BODY_APART && hasBody(req)) &&
    !listIncludes(req.headers.upgrade, 'websocket')
  ) {
    continueAsHttp(this, req, head)
    return
  }
  // From the first tick on: a reset of the connection while an async hook runs must not be an uncaught error.
  socket.on('error', ignore)
  const response = new ServerResponse(req)
  response.shouldKeepAlive = false
  const [bridge] = bridges.get(this) ?? []
  const settle = bridge?.admit((code) => end(bridge, pending, req, code))
  const answered = (): void => {
    settle?.()
    endSocket(socket)
  }
  response.once('finish', answered)
  if (settle !== undefined) socket.once('close', settle)
  let timer: NodeJS.Timeout | undefined
  const pending: PendingUpgrade = {
    socket,
    head,
    response,
    server: this,
    bytesWrittenBefore: socket.bytesWritten ?? 0,
    stopHolding: () => clearInterval(timer),
    settle: () => settle?.(),
    release: () => {
      clearInterval(timer)
      settle?.()
      if (settle !== undefined) socket.off('close', settle)
      response.off('finish', answered)
      // A socket that is broken already, by an earlier response on it, has yet to emit its error: nobody else would hear it.
      if (socket.writable) socket.off('error', ignore)
    },
  }
  pendingUpgrades.set(req, pending)
  let refusal: RefusalCode | undefined
  // Here, because a framework that is being closed answers by itself, and without a Retry-After.
  if (isLeft(this)) refusal = 'WSHUB_ERR_HUB_CLOSED'
  else if (bridge !== undefined && settle === undefined) refusal = 'WSHUB_ERR_TOO_MANY_PENDING'
  if (!isShared) {
    if (refusal !== undefined) {
      bridge?.refuse(pending, req, refusal)
      return
    }
    answerNow(pending)
    this.emit('request', req, response)
    return
  }
  // The others are asked first: most of them take what is theirs at once.
  setImmediate(() => {
    if (isTaken(pending)) {
      abandon(pending)
      return
    }
    if (refusal !== undefined) {
      // It may be theirs all the same: they have as much time as a 401 would give them.
      timer = setTimeout(() => bridge?.refuse(pending, req, refusal), HOLD_MS).unref()
      return
    }
    let heldMs = 0
    timer = setInterval(() => {
      if (isTaken(pending)) {
        abandon(pending)
        return
      }
      heldMs += HOLD_MS
      if (response.headersSent) pending.settle()
      const isDecided = response.headersSent && (response.statusCode === 401 || response.statusCode === 403)
      if (isDecided || heldMs >= LONG_HOLD_MS || !this.listening) answerNow(pending)
    }, HOLD_MS).unref()
    this.emit('request', req, response)
  })
}

/** Whether all hubs of a server are saying goodbye. */
function isLeft(server: UpgradeServer): boolean {
  const ofServer = [...(bridges.get(server) ?? [])]
  return ofServer.length > 0 && ofServer.every(({ isLeaving }) => isLeaving)
}

/** The time of a pending upgrade is over, unless there is an answer, which may be held back or take long to send. */
function end(bridge: UpgradeBridge, pending: PendingUpgrade, req: IncomingMessage, code: RefusalCode): void {
  const isHeld = pending.response.socket === null // it may be another's
  if (code === 'WSHUB_ERR_HUB_CLOSED' && (isHeld || !isLeft(pending.server))) return
  if (pending.response.headersSent) {
    answerNow(pending)
    pending.settle()
  } else {
    bridge.refuse(pending, req, code)
  }
}

/**
 * Answers with an error on the bare socket. What the application still does with the response goes nowhere.
 * @returns `false` when there is nobody to answer
 */
function endWith(pending: PendingUpgrade, error: HubError): boolean {
  answerNow(pending) // as any answer: not when others have taken the socket, or an earlier response still has it
  const { socket, response, release } = pending
  if (response.socket === null) return false
  release()
  response.detachSocket(socket as Socket) // typed for TCP; any duplex will do
  response.destroy()
  response.emit('close')
  socket.on('error', () => {}) // its own: a later release takes `ignore` away
  const headers = Object.entries({
    ...error.headers,
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': Buffer.byteLength(error.message),
  }).map(([name, value]) => `${name}: ${value}\r\n`)
  const statusLine = `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status]}\r\n`
  socket.write(`${statusLine}${headers.join('')}\r\n${error.message}`)
  endSocket(socket)
  return true
}

/** Lets the response reach the client, unless somebody else has begun to talk to it. */
function answerNow(pending: PendingUpgrade): void {
  const { socket, response } = pending
  pending.stopHolding()
  if (response.socket !== null) return
  if (isTaken(pending)) {
    abandon(pending)
    return
  }
  try {
    response.assignSocket(socket as Socket) // typed for TCP; any duplex will do
  } catch {
    // An earlier response is still being written: the handshake was pipelined behind it, which no client may do.
    socket.destroy()
  }
}

function abandon({ response, release }: PendingUpgrade): void {
  release()
  response.destroy()
}

/** Whether an `upgrade` listener besides ours has answered, or the client has gone. */
function isTaken({ socket, bytesWrittenBefore }: PendingUpgrade): boolean {
  return socket.destroyed || !socket.writable || (socket.bytesWritten ?? 0) > bytesWrittenBefore
}

function endSocket(socket: Duplex & { destroySoon?: () => void }): void {
  socket.resume() // what the client still sends is of no use, but unread it would turn our answer into a reset
  if (socket.destroySoon !== undefined) socket.destroySoon()
  else socket.end(() => socket.destroy())
}

/**
 * An upgrade to something else (Java's HTTP client asks for h2c with every request) on a server that has no listener for
 * it: Node would have ignored the wish and served the request, body and all. Since our listener made Node stop, the
 * request is put before the server once more, as Node documents for `'connection'`, without the wish. Where its body has
 * been read already it is served like a handshake that failed: once, and then the connection ends.
 */
function continueAsHttp(server: UpgradeServer, req: IncomingMessage, head: Buffer): void {
  const { socket } = req
  let text = `${req.method} ${req.url} HTTP/${req.httpVersion}\r\n`
  for (let i = 0; i + 1 < req.rawHeaders.length; i += 2) {
    const name = req.rawHeaders[i] ?? ''
    let value = req.rawHeaders[i + 1] ?? ''
    if (/^(upgrade|http2-settings)$/i.test(name)) continue
    if (/^connection$/i.test(name)) {
      const options = value.split(',').filter((option) => !/^\s*(upgrade|http2-settings)\s*$/i.test(option))
      if (options.length === 0) continue
      value = options.join(',').trim()
    }
    text += `${name}: ${value}\r\n`
  }
  socket.unshift(Buffer.concat([Buffer.from(`${text}\r\n`, 'latin1'), head]))
  server.emit('encrypted' in socket ? 'secureConnection' : 'connection', socket)
}

/** The http(s) server in a message of `net.server.socket`. */
function serverOf(message: unknown): UpgradeServer | undefined {
  const { server } = (message as { socket: { server?: unknown } }).socket // as Node documents the channel
  return server instanceof HttpServer || server instanceof HttpsServer ? server : undefined
}

function ignore(): void {}
