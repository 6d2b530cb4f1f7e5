import { HubError } from '../base/errors.ts'
import { runHandler } from '../base/run-handler.ts'
import type { RunningHandlers } from '../base/running-handlers.ts'
import { propertyOf } from '../base/thrown.ts'
import type { Delivery } from '../delivery/delivery.ts'
import { addDrops, type DropCount, type DropReason, noDrops } from '../delivery/drop-count.ts'
import { Outbox, type OutboxSocket } from '../delivery/outbox.ts'
import { OutgoingMessage } from '../delivery/outgoing-message.ts'
import { isHeard, tell } from '../hub/diagnostics.ts'
import type { ErrorSource } from '../hub/error-reporter.ts'
import type { ResolvedHubOptions } from '../hub/hub-options.ts'
import type { Tally } from '../hub/stats.ts'
import { CloseCode, isSendableCloseCode } from '../protocol/close-code.ts'
import { controlPayload } from '../protocol/control-frame.ts'
import { Frame } from '../protocol/frame.ts'
import { Opcode } from '../protocol/frame-header.ts'
import type { Message, Payload, SendOptions } from '../protocol/message.ts'
import { encodeMessage } from '../protocol/message-frame.ts'
import { expiry } from '../upgrade/upgrade-init.ts'
import { type CloseCause, type CloseReason, closeCause, type Ending } from './close-cause.ts'
import type { Connection, ConnectionState } from './connection.ts'
import type { CallbackName, EventHandler } from './event-handler.ts'
import { type ConnectionCore, HubConnection } from './hub-connection.ts'
import { listen, type WebSocketLike } from './hub-websocket.ts'
import { Inbox } from './inbox.ts'
import { type Keepalive, Liveness } from './keepalive.ts'
import type { MetadataEntries } from './metadata.ts'
import { RateLimit } from './rate-limit.ts'

/** What all connections of a hub share. */
export interface ConnectionHost<Meta extends object> {
  readonly hub: Connection<Meta>['hub']
  readonly options: ResolvedHubOptions
  readonly delivery: Delivery
  readonly keepalive: Keepalive
  readonly tally: Tally
  roomsOf(session: Session<Meta>): ReadonlySet<string>
  /** Forgets a connection that is closed; returns the rooms it was in. */
  release(session: Session<Meta>): ReadonlySet<string>
  report(error: Error, source: ErrorSource<Meta>): void
  /** `hub.close()` waits for them. */
  readonly running: RunningHandlers
}

/** The transport of a connection. */
export interface ConnectionTransport {
  readonly ws: WebSocketLike
  readonly socket: OutboxSocket & { readonly bytesRead?: number }
  readonly remoteAddress: string | undefined
  /** The path of the upgrade request, for reports; `undefined` for a WebSocket that was opened elsewhere. */
  readonly path: string | undefined
  /** Window of outgoing compressed messages in bits, 0 when compression was not negotiated. */
  readonly windowBits: number
  /** Holds what has been read and may have to be inflated. */
  readonly gate: { readonly heldBytes: number } | undefined
  /** The server that the connection came through. */
  readonly server: object | undefined
}

const OPEN = 1

/** The end of a connection whose credential has expired; its code is 4000 and the HTTP status. */
const EXPIRED: Ending = { by: 'hub', reason: 'expired', code: 4401, text: 'credential expired' }

/** Where an application sets no `openTimeoutMs`, an expired credential is still good for this long, in ms. */
const EXPIRE_TIMEOUT_MS = 10_000

// One for all: 15,000 idle clients are pinged 500 times a second, and each frame of its own would be garbage.
const KEEPALIVE_PING = Frame.ping().encode()

/** The behaviour of one connection, behind the {@link Connection} that applications hold. */
export class Session<out Meta extends object> implements ConnectionCore<Meta> {
  readonly id: string
  readonly remoteAddress: string | undefined
  /** The object that callbacks get. */
  readonly connection: Connection<Meta>
  lastPingTime = 0
  lastPongTime = 0
  readonly liveness = new Liveness()
  readonly server: object | undefined
  /** For reports. */
  readonly path: string | undefined

  readonly #host: ConnectionHost<Meta>
  readonly #handler: EventHandler<Meta>
  readonly #ws: WebSocketLike
  readonly #socket: ConnectionTransport['socket']
  readonly #outbox: Outbox
  readonly #windowBits: number
  readonly #gate: ConnectionTransport['gate']
  /** There once the connection was paused or iterated. */
  #inbox: Inbox | undefined
  readonly #rate: RateLimit | undefined
  /** Whether a client above its rates is closed, and not only read more slowly. */
  readonly #isRateEnforced: boolean
  #expiresAt: number | undefined
  #isLapsing = false
  /** Callbacks that have not settled, and the bodies of iterations. */
  #running = 0
  /** The goodbye that waits for them. */
  #leaving: Ending | undefined
  /** No longer waits for the callback that has a deadline: `onOpen` or `onExpire`. */
  #giveUpCallback: (() => void) | undefined
  #dropped: DropCount | undefined
  #state: ConnectionState = 'connecting'
  /** The rooms at the time of closing. */
  #lastRooms: ReadonlySet<string> | undefined
  #opening: (() => void) | undefined
  /** A close that waits for `onOpen` to settle. */
  #pendingClose: { cause: CloseCause; reason: string; timer: NodeJS.Timeout | undefined } | undefined
  /** How this side began the end; the first one counts. */
  #ending: Ending | undefined
  /** Whether the close frame of that was handed to the socket. */
  #isCloseSent = false
  /** By the clock of `performance`; -1 before it was open. */
  #openedAt = -1
  /** Counts events instead of bytes for a WebSocket that was opened elsewhere. */
  #eventsRead = 0

  constructor(
    host: ConnectionHost<Meta>,
    id: string,
    transport: ConnectionTransport,
    handler: EventHandler<Meta>,
    metadata: MetadataEntries,
  ) {
    this.id = id
    this.remoteAddress = transport.remoteAddress
    this.server = transport.server
    this.path = transport.path
    this.#host = host
    this.#handler = handler
    this.#ws = transport.ws
    this.#socket = transport.socket
    this.#windowBits = transport.windowBits
    this.#gate = transport.gate
    this.#outbox = new Outbox(transport.socket, host.delivery, this)
    const { limits } = host.options
    if (limits.maxMessagesPerSecond > 0 || limits.maxBytesPerSecond > 0) this.#rate = new RateLimit(limits)
    this.#isRateEnforced = limits.rateLimitPolicy === 'close'
    this.connection = new HubConnection(this, id, transport.remoteAddress, metadata)
    listen(transport.ws, this)
  }

  get hub(): Connection<Meta>['hub'] {
    return this.#host.hub
  }

  get state(): ConnectionState {
    return this.#state === 'open' && this.#ws.readyState !== OPEN ? 'closing' : this.#state
  }

  get rooms(): ReadonlySet<string> {
    return this.#lastRooms ?? this.#host.roomsOf(this)
  }

  get maxMetadataEntries(): number {
    return this.#host.options.limits.maxMetadataEntries
  }

  get expiresAt(): number | undefined {
    return this.#expiresAt
  }

  get protocol(): string {
    return this.#ws.protocol
  }

  get bufferedBytes(): number {
    return this.#outbox.bufferedBytes + (this.#inbox?.bytes ?? 0) + (this.#gate?.heldBytes ?? 0)
  }

  get dropped(): Readonly<DropCount> {
    return this.#dropped ?? noDrops()
  }

  send(data: Payload, options: SendOptions | undefined): boolean {
    if (!this.#isOpen) return false
    if (this.#windowBits === 0) return this.#accept(encodeMessage(data), options)
    return this.deliver(new OutgoingMessage(data, this.#host.options.enableCompression), options)
  }

  sendControl(opcode: typeof Opcode.ping | typeof Opcode.pong, data: Payload): boolean {
    const payload = controlPayload(data)
    if (!this.#isOpen) return false
    this.#outbox.sendControl(new Frame({ opcode, payload }).encode())
    if (opcode === Opcode.ping) this.lastPingTime = Date.now()
    return true
  }

  pause(): void {
    if (this.#state !== 'closed') this.#ownInbox().pause()
  }

  resume(): void {
    this.#inbox?.resume()
  }

  iterate(): AsyncGenerator<Message, void, undefined> {
    const messages = this.#ownInbox().iterate()
    if (this.#state === 'open') this.#opened()
    return messages
  }

  renew(at: Date | number | undefined): void {
    this.#expiresAt = at === undefined ? undefined : expiry(at)
    this.#host.keepalive.setExpiry(this, this.#expiresAt)
  }

  /** Starts the closing handshake; `false` when the end has begun already. */
  close(ending: Ending): boolean {
    if (!this.#isOpen) return false
    this.#sayGoodbye(ending)
    return true
  }

  /**
   * Closes the connection once its callbacks have settled, behind what they send, or after `withinMs`; 0 = no limit. What comes
   * meanwhile is not delivered.
   */
  leave(code: number, text: string, withinMs: number): void {
    if (!this.#isOpen || this.#leaving !== undefined) return
    this.#leaving = { by: 'hub', reason: 'shutdown', code, text }
    if (this.#running === 0) {
      this.leaveNow()
      return
    }
    this.#host.keepalive.setDeadline(this, withinMs)
    this.#inbox?.clear()
    this.#ws.resume() // the client may answer a ping, or close
  }

  /** Closes a connection that is leaving, whatever still runs. */
  leaveNow(): void {
    if (this.#leaving !== undefined) this.close(this.#leaving)
  }

  /** Destroys the socket, for a hub that closes and waits no longer. */
  abandon(): void {
    this.terminate({ by: 'hub', reason: 'shutdown', code: CloseCode.abnormal, text: '' })
  }

  /**
   * Starts its life: `onOpen` first, then the messages.
   * @returns a promise of this connection, once `onOpen` has settled
   */
  open(): Promise<Connection<Meta>> {
    if (this.#ws.readyState !== OPEN) {
      this.#ws.on('open', () => void this.open())
      return new Promise((resolve) => {
        this.#opening = () => resolve(this.connection)
      })
    }
    const opened = new Promise<Connection<Meta>>((resolve) => {
      const earlier = this.#opening
      this.#opening = () => {
        resolve(this.connection)
        earlier?.()
      }
    })
    this.#state = 'open'
    this.#openedAt = performance.now()
    this.#ws.pause()
    const { keepalive, options } = this.#host
    keepalive.watch(this)
    if (isHeard('wshub:open')) tell('wshub:open', { connection: this.#asHeard })
    this.#giveUpCallback = this.#run(
      'onOpen',
      () => this.#handler.onOpen?.(this.connection),
      () => this.#opened(),
    )
    if (this.#giveUpCallback === undefined) this.#opened()
    else if (this.#isOpen && this.#opening !== undefined) keepalive.setDeadline(this, options.openTimeoutMs) // else it has another already
    return opened
  }

  /** Queues a message that is shared with others; `false` when it was not accepted. */
  deliver(message: OutgoingMessage, options: SendOptions | undefined): boolean {
    return this.#isOpen && this.#accept(message.frame(this.#windowBits), options)
  }

  /** For the keepalive. */
  get bytesRead(): number {
    // A client that takes what waits for it is alive, and answers a ping only when it has got so far.
    return (this.#socket.bytesRead ?? this.#eventsRead) + this.#outbox.takenBytes
  }

  /** For the keepalive. */
  get isPaused(): boolean {
    return this.#state === 'connecting' || this.#ws.isPaused
  }

  /** For the keepalive. */
  get isClosing(): boolean {
    return this.state === 'closing'
  }

  /** For the keepalive. */
  ping(): void {
    this.#outbox.sendControl(KEEPALIVE_PING)
    this.lastPingTime = Date.now()
  }

  /** For the keepalive. */
  pongTimedOut(): void {
    const text = `no answer to a ping within ${this.#host.options.pongTimeoutMs} ms`
    this.terminate({ by: 'hub', reason: 'timeout', code: CloseCode.abnormal, text })
  }

  /** For the keepalive. */
  deadlinePassed(): void {
    const { openTimeoutMs } = this.#host.options
    if (this.isClosing) {
      this.#ws.terminate()
    } else if (this.#leaving !== undefined) {
      this.leaveNow()
    } else if (this.#isLapsing) {
      this.#giveUpCallback?.()
    } else if (openTimeoutMs === 0) {
      if (!this.#isExpired) return // it was renewed while onOpen was pending
      this.close(EXPIRED)
      this.#giveUpCallback?.()
    } else {
      const error = new HubError(
        'WSHUB_ERR_OPEN_TIMEOUT',
        `onOpen has not settled within ${openTimeoutMs} ms`,
      )
      this.#failed(error, 'onOpen', 'openTimeout')
      this.#giveUpCallback?.()
    }
  }

  /** For the keepalive. */
  credentialExpired(): void {
    if (!this.#isServed || this.#isLapsing) return // a second one has nothing to add
    const { keepalive, options } = this.#host
    if (this.#opening !== undefined) {
      // It waits for onOpen, see #opened, which has its own deadline, or else gets this one.
      if (options.openTimeoutMs === 0) keepalive.setDeadline(this, EXPIRE_TIMEOUT_MS)
      return
    }
    this.#isLapsing = true
    this.#ownInbox().hold()
    this.#giveUpCallback = this.#run(
      'onExpire',
      () => this.#handler.onExpire?.(this.connection),
      () => this.#lapsed(),
    )
    if (this.#giveUpCallback === undefined) this.#lapsed()
    else if (this.#isServed) keepalive.setDeadline(this, options.openTimeoutMs || EXPIRE_TIMEOUT_MS)
  }

  /** `onExpire` has settled, or its time is over. */
  #lapsed(): void {
    if (!this.#isLapsing) return
    this.#isLapsing = false
    this.#giveUpCallback = undefined
    if (this.#state !== 'open' || this.#leaving !== undefined) return
    if (this.#isOpen) this.#host.keepalive.setDeadline(this, 0)
    this.#ownInbox().release()
    if (this.#isExpired) this.close(EXPIRED)
  }

  get #isExpired(): boolean {
    return this.#expiresAt !== undefined && this.#expiresAt <= Date.now()
  }

  /** For the outbox. */
  get writable(): boolean {
    return this.#ws.readyState === OPEN
  }

  /** For the outbox. */
  overflow(of: 'client' | 'hub'): void {
    const { maxBufferedBytes, maxTotalBufferedBytes, closeTimeoutMs } = this.#host.options
    const message =
      of === 'client'
        ? `more than ${maxBufferedBytes} bytes wait for a client that does not read`
        : `more than ${maxTotalBufferedBytes} bytes wait for all clients together, and for this one the most`
    const error = new HubError('WSHUB_ERR_SLOW_CONSUMER', message)
    const code = CloseCode.tryAgainLater
    const ending: Ending = { by: 'hub', reason: 'slow', code, text: 'too slow', error }
    if (this.#state !== 'open') {
      if (of === 'hub') this.terminate(ending)
      return
    }
    this.#state = 'closing'
    this.#ending ??= ending
    this.#host.keepalive.setDeadline(this, closeTimeoutMs)
    this.#inbox?.clear()
    this.#outbox.clear('overflow')
    // In a turn of its own: no user code runs inside a broadcast.
    process.nextTick(() => {
      this.#outbox.tellDrops()
      this.#ws.resume() // the answer could not be read from a paused socket
      // A close frame behind so much would be late, and the hub needs the room.
      if (of === 'hub' && this.#socket.writableLength > maxBufferedBytes) this.#ws.terminate()
      else this.#sendClose(ending)
      this.#report(error)
    })
  }

  /** For the outbox. */
  reportDrops(drops: ReadonlyMap<DropReason, DropCount>): void {
    this.#dropped ??= noDrops()
    for (const [reason, count] of drops) {
      addDrops(this.#dropped, count)
      const dropped = { reason, ...count }
      if (isHeard('wshub:drop')) tell('wshub:drop', { connection: this.#asHeard, dropped })
      this.#run('onDrop', () => this.#handler.onDrop?.(this.connection, dropped))
    }
  }

  /** For the inbox. */
  resumeReading(): void {
    if (this.#opening === undefined) this.#ws.resume()
  }

  /** For the inbox. */
  pauseReading(): void {
    if (this.#state !== 'closing') this.#ws.pause()
  }

  /** Neither side has said goodbye. */
  get #isOpen(): boolean {
    return this.#state === 'open' && this.#ws.readyState === OPEN
  }

  /** Whether what comes is delivered; also what came before the client's close frame. */
  get #isHearing(): boolean {
    return this.#state === 'open' && this.#leaving === undefined
  }

  /** Open, and not waiting for its callbacks in order to close. */
  get #isServed(): boolean {
    return this.#isOpen && this.#leaving === undefined
  }

  #accept(frame: Buffer, options: SendOptions | undefined): boolean {
    if (!this.#outbox.send(frame, options)) return false
    const { tally } = this.#host
    tally.sentMessages++
    tally.sentBytes += frame.length
    return true
  }

  #ownInbox(): Inbox {
    if (this.#inbox === undefined) {
      this.#inbox = new Inbox(this)
      if (this.#state === 'closing' || this.#state === 'closed') this.#inbox.clear()
    }
    return this.#inbox
  }

  /** A message has come. */
  received(data: Buffer, isBinary: boolean): void {
    this.#eventsRead++
    if (!this.#isHearing) return
    const { tally } = this.#host
    tally.receivedMessages++
    tally.receivedBytes += data.length
    const message: Message = isBinary ? { type: 'binary', data } : { type: 'text', data: data.toString() }
    if (isHeard('wshub:message'))
      tell('wshub:message', { connection: this.#asHeard, message, bytes: data.length })
    if (this.#isRateEnforced) this.#count(data.length)
    if (this.#state !== 'open') return
    // A packet is heard to its end, also when its first message has led to `register`, or to a pause.
    if (this.#opening === undefined && (this.#inbox === undefined || this.#inbox.isOpen)) {
      this.countReceived(data.length)
      this.callOnMessage(message)
      return
    }
    const inbox = this.#ownInbox()
    if (inbox.isFull) this.#tooFast('the client sends faster than its messages are taken')
    else inbox.push(message, data.length)
  }

  /**
   * Counts a message as it is delivered, so that those which came in one packet are spread as well. For the inbox.
   */
  countReceived(bytes: number): void {
    if (!this.#isRateEnforced && this.#rate !== undefined) this.#count(bytes)
  }

  /** Counts a message or a ping; when that is too many, the next ones wait, or the connection is closed. */
  #count(bytes: number): void {
    const rate = this.#rate
    if (rate === undefined || this.#state !== 'open' || rate.take(bytes)) return
    if (!this.#isRateEnforced) {
      rate.delay(this.#ownInbox())
      return
    }
    this.#tooFast('the client sends faster than its limits')
  }

  #tooFast(message: string): void {
    const error = new HubError('WSHUB_ERR_RATE_LIMIT', message)
    this.#report(error)
    const code = CloseCode.policyViolation
    this.close({ by: 'hub', reason: 'rate', code, text: 'too many messages', error })
  }

  // A channel of diagnostics is shared by hubs of any Meta.
  get #asHeard(): Connection {
    return this.connection as unknown as Connection
  }

  /** Calls `onMessage`. For the inbox. */
  callOnMessage(message: Message): void {
    if (this.#state === 'open')
      this.#run('onMessage', () => this.#handler.onMessage?.(this.connection, message))
  }

  /** A ping has come. */
  pinged(payload: Buffer): void {
    this.#eventsRead++
    this.#count(payload.length)
    if (this.#isHearing) this.#run('onPing', () => this.#handler.onPing?.(this.connection, payload))
  }

  /** A pong has come. */
  ponged(payload: Buffer): void {
    this.#eventsRead++
    this.lastPongTime = Date.now()
    if (this.#isHearing) this.#run('onPong', () => this.#handler.onPong?.(this.connection, payload))
  }

  /** A close frame is about to be written. */
  closing(): void {
    this.#outbox.flushAll()
  }

  /** The client broke the protocol; `ws` has answered it. */
  protocolError(error: HubError): void {
    if (this.#ending?.error !== undefined) return // it is given up already
    if (this.#ending === undefined) {
      const code = error.closeCode ?? CloseCode.protocolError
      this.#ending =
        this.#state === 'connecting'
          ? { by: 'network', reason: 'lost', code: CloseCode.abnormal, text: error.message, error }
          : { by: 'hub', reason: faultOf(error), code, text: '', error }
      this.#isCloseSent = true
    }
    this.#report(error)
  }

  /** The socket is about to be destroyed; where nothing has begun that, `ws` does: too many pongs wait. */
  terminating(): void {
    if (!this.#isOpen || this.#ending !== undefined) return
    const error = new HubError('WSHUB_ERR_RATE_LIMIT', 'the client sends more pings than can be answered')
    this.#ending = { by: 'hub', reason: 'rate', code: CloseCode.abnormal, text: error.message, error }
    this.#report(error)
  }

  /** Text of which the client has sent a part is not UTF-8. */
  invalidText(hangUp: () => void): void {
    if (!this.#isOpen) return
    const error = new HubError('WSHUB_ERR_INVALID_DATA', 'the client sent text that is not UTF-8')
    this.#sayGoodbye({ by: 'hub', reason: 'protocol', code: CloseCode.invalidData, text: '', error }, hangUp)
    this.#report(error)
  }

  /** The socket is gone. */
  closed(code: number, reason: string): void {
    if (this.#state === 'closed') return
    const isSettled = this.#opening === undefined || this.#state === 'connecting'
    this.#inbox?.end()
    this.#host.keepalive.forget(this)
    this.#rate?.stop()
    this.#state = 'closed'
    this.#outbox.clear('closed')
    this.#outbox.tellDrops()
    this.#lastRooms = this.#host.release(this)
    const openMs = this.#openedAt < 0 ? 0 : Math.round(performance.now() - this.#openedAt)
    const end = closeCause({ code, reason }, this.#ending, this.#isCloseSent, openMs)
    this.#host.tally.close(end.cause, code !== CloseCode.abnormal)
    if (isSettled) {
      this.#runOnClose(end.cause, end.reason)
      return
    }
    // The keepalive no longer sees a connection that is gone, so the time of its `onOpen` ends by a timer.
    const { openTimeoutMs } = this.#host.options
    const timer =
      openTimeoutMs > 0 ? setTimeout(() => this.#giveUpCallback?.(), openTimeoutMs).unref() : undefined
    this.#pendingClose = { ...end, timer }
  }

  /** A callback threw. */
  failed(error: Error, where: string): void {
    this.#failed(error, where, 'handlerError')
  }

  #failed(error: Error, where: string, reason: CloseReason): void {
    this.#report(error, where)
    const closeCode = error instanceof HubError ? propertyOf(error, 'closeCode') : undefined // an application may have changed it
    const isSendable = typeof closeCode === 'number' && isSendableCloseCode(closeCode)
    const code = isSendable ? closeCode : CloseCode.internalError
    this.close({ by: 'hub', reason, code, text: '', error })
  }

  #opened(): void {
    const opening = this.#opening
    if (opening === undefined) return // settled after its time was over
    this.#opening = undefined
    this.#giveUpCallback = undefined
    if (this.#isServed) this.#host.keepalive.setDeadline(this, 0)
    opening()
    if (this.#isExpired) this.credentialExpired()
    if (this.#pendingClose !== undefined) {
      clearTimeout(this.#pendingClose.timer)
      this.#runOnClose(this.#pendingClose.cause, this.#pendingClose.reason)
    } else {
      // A turn later, so that the code after `await upgradeWebSocket(…)` runs before the first message.
      setImmediate(() => {
        if (this.#inbox === undefined) this.#ws.resume()
        else this.#inbox.flow()
      })
    }
  }

  terminate(ending: Ending): void {
    if (this.#state === 'closed') return
    // Behind a close frame it is only the end of what that has begun.
    if (this.#ws.readyState <= OPEN) this.#ending ??= ending
    this.#ws.terminate()
  }

  /** @param then is called behind the close frame */
  #sayGoodbye(ending: Ending, then?: () => void): void {
    this.#ending ??= ending
    this.#state = 'closing'
    this.#host.keepalive.setDeadline(this, this.#host.options.closeTimeoutMs)
    this.#inbox?.clear()
    this.#ws.resume() // the answer could not be read from a paused socket
    this.#outbox.end(() => {
      this.#sendClose(ending)
      then?.()
    })
  }

  #sendClose({ code, text }: Ending): void {
    if (this.#ws.readyState === OPEN) this.#isCloseSent = true
    this.#ws.close(code, text)
  }

  #runOnClose(cause: CloseCause, reason: string): void {
    const { code } = cause
    if (isHeard('wshub:close')) tell('wshub:close', { connection: this.#asHeard, code, reason, cause })
    this.#run('onClose', () => this.#handler.onClose?.(this.connection, code, reason, cause))
  }

  /**
   * Calls a callback of the application.
   * @param then is called once when the promise that it returned has settled, or is given up
   * @returns a function that gives the promise up; `undefined` when there is none
   */
  #run(where: CallbackName, call: () => unknown, then?: () => void): (() => void) | undefined {
    const pending = runHandler(where, call, this)
    if (pending === undefined) return undefined
    this.callbackBegan()
    let isOver = false
    const over = () => {
      if (isOver) return
      isOver = true
      then?.() // before `ended`: `hub.close` waits for what it begins as well
      this.callbackSettled()
    }
    void pending.then(over)
    return over
  }

  /** User code runs for it; also for the inbox. */
  callbackBegan(): void {
    this.#running++
    this.#host.running.begin()
  }

  /** User code has settled; also for the inbox. */
  callbackSettled(): void {
    this.#running--
    this.#host.running.end()
    if (this.#running === 0) this.leaveNow()
  }

  #report(error: Error, where?: string): void {
    this.#host.report(error, { where, connection: this.connection, path: this.path, handler: this.#handler })
  }
}

/** The reason that a client's fault is. */
function faultOf({ code }: HubError): CloseReason {
  return code === 'WSHUB_ERR_MESSAGE_TOO_BIG' || code === 'WSHUB_ERR_TOO_MANY_FRAGMENTS'
    ? 'tooBig'
    : 'protocol'
}
