import type { HubError } from '../base/errors.ts'
import type { Origin } from '../delivery/backlog.ts'
import type { DropCount } from '../delivery/drop-count.ts'
import type { Outbox } from '../delivery/outbox.ts'
import type { OutgoingMessage } from '../delivery/outgoing-message.ts'
import { CloseCode } from '../protocol/close-code.ts'
import { controlPayload } from '../protocol/control-frame.ts'
import type { Opcode } from '../protocol/frame-header.ts'
import type { Message, Payload, SendOptions } from '../protocol/message.ts'
import type { Ending } from './close-cause.ts'
import { Closing, type ClosingOwner } from './closing.ts'
import type { Connection, ConnectionState } from './connection.ts'
import type { ConnectionHost } from './connection-host.ts'
import { Credential, type CredentialOwner } from './credential.ts'
import * as endings from './endings.ts'
import type { ErrorSource } from './error-source.ts'
import type { EventHandler } from './event-handler.ts'
import { type ConnectionCore, HubConnection } from './hub-connection.ts'
import { listen, OPEN, type WebSocketListener } from './hub-websocket.ts'
import { type KeepalivePeer, Liveness } from './keepalive.ts'
import type { MetadataEntries } from './metadata.ts'
import { Opening } from './opening.ts'
import { Receiver, type ReceiverOwner } from './receiver.ts'
import { Sender, type SenderOwner } from './sender.ts'
import type { Transport } from './transport.ts'

/** The objects that all sessions of a hub share. */
export interface SessionHost<Meta extends object> extends ConnectionHost {
  readonly hub: Connection<Meta>['hub']
  roomsOf(session: Session<Meta>): ReadonlySet<string>
  /** Forgets a session that is closed. @returns the rooms it was in */
  release(session: Session<Meta>): ReadonlySet<string>
  report(error: Error, source: ErrorSource<Meta>): void
  /** Messages to a session that can be read again were dropped: in each log, all from the given one on. */
  resync(session: Session<Meta>, firsts: Iterable<Origin>): void
}

/** The behaviour of one connection, behind the {@link Connection} that applications hold. */
export class Session<out Meta extends object>
  implements
    ClosingOwner<Meta>,
    ConnectionCore<Meta>,
    CredentialOwner<Meta>,
    KeepalivePeer,
    ReceiverOwner<Meta>,
    SenderOwner<Meta>,
    WebSocketListener
{
  readonly connection: Connection<Meta>
  /** The path of the upgrade request, for reports. */
  readonly path: string | undefined
  /** The server that the connection came through. */
  readonly server: object | undefined
  readonly liveness = new Liveness()
  readonly handler: EventHandler<Meta>
  readonly ws: Transport['ws']
  readonly socket: Transport['socket']
  readonly receiver: Receiver<Meta>
  phase: ConnectionState = 'connecting'

  readonly #host: SessionHost<Meta>
  readonly #gate: Transport['gate']
  readonly #sender: Sender<Meta>
  /** Created with the first time of expiry. */
  #credential: Credential<Meta> | undefined
  /** There until `onOpen` has settled. */
  #opening: Opening<Meta> | undefined
  /** By the clock of `performance`, in whole ms: a fraction would take 16 bytes; -1 before it was open. */
  #openedAt = -1
  /** The number of callbacks that have not settled, and of iterations whose body runs. */
  #runningCallbacks = 0
  /** Created with the first reason to end the connection. */
  #closing: Closing<Meta> | undefined

  constructor(
    host: SessionHost<Meta>,
    id: string,
    transport: Transport,
    handler: EventHandler<Meta>,
    metadata: MetadataEntries,
  ) {
    this.path = transport.path
    this.server = transport.server
    this.#host = host
    this.handler = handler
    this.ws = transport.ws
    this.socket = transport.socket
    this.#gate = transport.gate
    this.#sender = new Sender(this, transport, host)
    this.receiver = new Receiver(this, transport.ws, host)
    this.connection = new HubConnection(this, id, transport.remoteAddress, metadata)
    listen(transport.ws, this)
  }

  // Members that applications read

  get id(): string {
    return this.connection.id
  }

  get hub(): Connection<Meta>['hub'] {
    return this.#host.hub
  }

  get state(): ConnectionState {
    return this.phase === 'open' && this.ws.readyState !== OPEN ? 'closing' : this.phase
  }

  get rooms(): ReadonlySet<string> {
    return this.#closing?.rooms ?? this.#host.roomsOf(this)
  }

  get options(): ConnectionHost['options'] {
    return this.#host.options
  }

  get outbox(): Outbox {
    return this.#sender.outbox
  }

  get expiresAt(): number | undefined {
    return this.#credential?.expiresAt
  }

  get protocol(): string {
    return this.ws.protocol
  }

  get bufferedBytes(): number {
    return this.outbox.bufferedBytes + this.receiver.bufferedBytes + (this.#gate?.heldBytes ?? 0)
  }

  get dropped(): Readonly<DropCount> {
    return this.#sender.dropped
  }

  get lastPingTime(): number {
    return this.#sender.lastPingTime
  }

  get lastPongTime(): number {
    return this.receiver.lastPongTime
  }

  // Opening

  /**
   * Calls `onOpen`, and then delivers the messages.
   * @returns a promise of the connection, once `onOpen` has settled
   */
  open(): Promise<Connection<Meta>> {
    this.#opening ??= new Opening(this)
    const opening = this.#opening
    if (this.ws.readyState !== OPEN) {
      this.ws.on('open', () => void this.open())
      return opening.opened
    }
    this.phase = 'open'
    this.#openedAt = Math.round(performance.now())
    this.ws.pause()
    this.#host.keepalive.watch(this)
    opening.run(() => this.#openSettled())
    // A connection that is closing, or iterated already, has another deadline or none.
    if (this.isOpen && this.#opening !== undefined) this.setDeadline(this.options.openTimeoutMs)
    return opening.opened
  }

  /** `onOpen` has settled, or is no longer waited for. */
  #openSettled(): void {
    const opening = this.#opening
    if (opening === undefined) return
    this.#opening = undefined
    if (this.isServed) this.setDeadline(0)
    opening.settle()
    if (this.#credential?.isExpired) this.#credential.expired()
    if (opening.runOnClose()) return
    // A turn later, so that the code after `await upgradeWebSocket(…)` runs before the first message.
    setImmediate(() => this.receiver.start())
  }

  // Sending

  send(data: Payload, options: SendOptions | undefined): boolean {
    return this.isOpen && this.#sender.send(data, options)
  }

  /**
   * Queues a message that is shared with others; `false` when it was not accepted.
   * @param origin where it can be read again
   */
  deliver(message: OutgoingMessage, options: SendOptions | undefined, origin?: Origin): boolean {
    return this.isOpen && this.#sender.deliver(message, options, origin)
  }

  resync(firsts: Iterable<Origin>): void {
    this.#host.resync(this, firsts)
  }

  hasRoomFor(bytes: number): boolean {
    return this.outbox.hasRoomFor(bytes)
  }

  awaitRoom(then: () => void): void {
    if (this.isOpen) this.outbox.awaitRoom(then)
  }

  /** Messages of a room were lost for this connection, and cannot be replayed. */
  fellBehind(room: string): void {
    // In a turn of its own: no user code runs inside a broadcast.
    process.nextTick(() => {
      if (this.isOpen) this.#sender.tellBehind(room)
    })
  }

  sendControl(opcode: typeof Opcode.ping | typeof Opcode.pong, data: Payload): boolean {
    const payload = controlPayload(data)
    if (!this.isOpen) return false
    this.#sender.sendControl(opcode, payload)
    return true
  }

  overflow(of: 'client' | 'hub'): void {
    const ending = endings.tooSlow(of, this.options)
    if (this.phase === 'open') this.#ownClosing().overflow(ending, of)
    else if (of === 'hub') this.terminate(ending)
  }

  // Receiving

  pause(): void {
    if (this.phase !== 'closed') this.receiver.pause()
  }

  resume(): void {
    this.receiver.resume()
  }

  iterate(): AsyncGenerator<Message, void, undefined> {
    const messages = this.receiver.iterate()
    if (this.phase === 'open') this.#openSettled()
    return messages
  }

  get isOpening(): boolean {
    return this.#opening !== undefined
  }

  /** Whether messages are delivered, also those that arrived before the client's close frame. */
  get isDelivering(): boolean {
    return this.phase === 'open' && this.#closing?.pending === undefined
  }

  // The credential

  renew(at: Date | number | undefined): void {
    this.#credential ??= new Credential(this, this.options.openTimeoutMs)
    this.#credential.renew(at)
  }

  setExpiry(at: number | undefined): void {
    this.#host.keepalive.setExpiry(this, at)
  }

  credentialExpired(): void {
    this.#credential?.expired()
  }

  // The keepalive

  get bytesRead(): number {
    // A client that reads its backlog is alive, and answers a ping only when it has read that far.
    return (this.socket.bytesRead ?? this.receiver.eventsRead) + this.outbox.takenBytes
  }

  get isPaused(): boolean {
    return this.phase === 'connecting' || this.ws.isPaused
  }

  get isClosing(): boolean {
    return this.state === 'closing'
  }

  ping(): void {
    if (this.isOpen) this.#sender.ping()
  }

  get messagesSent(): number {
    return this.#sender.messages
  }

  beat(): void {
    if (this.isOpen) this.#sender.beat()
  }

  pongTimedOut(): void {
    this.terminate(endings.unansweredPing(this.options.pongTimeoutMs))
  }

  setDeadline(ms: number): void {
    this.#host.keepalive.setDeadline(this, ms)
  }

  deadlinePassed(): void {
    const { openTimeoutMs } = this.options
    if (this.isClosing) {
      this.ws.terminate()
    } else if (this.#closing?.pending !== undefined) {
      this.leaveNow()
    } else if (this.#credential?.isRenewing) {
      this.#credential.stopWaiting()
    } else if (openTimeoutMs > 0) {
      this.#fail(endings.openTimeout(openTimeoutMs), 'onOpen')
      this.#opening?.stopWaiting()
    } else if (this.#credential?.isExpired) {
      this.close(endings.EXPIRED)
      this.#opening?.stopWaiting()
    } // otherwise the credential was renewed while onOpen was pending
  }

  // Closing

  /** Neither side has sent a close frame. */
  get isOpen(): boolean {
    return this.phase === 'open' && this.ws.readyState === OPEN
  }

  get isServed(): boolean {
    return this.isOpen && this.#closing?.pending === undefined
  }

  close(ending: Ending): boolean {
    if (!this.isOpen) return false
    this.#ownClosing().sayGoodbye(ending)
    return true
  }

  terminate(ending: Ending): void {
    if (this.phase !== 'closed') this.#ownClosing().terminate(ending)
  }

  /**
   * Closes the connection once its callbacks have settled, after the messages that they send. Messages that
   * arrive meanwhile are not delivered.
   * @param withinMs the time after which it is closed anyway; 0 = no limit
   */
  leave(code: number, text: string, withinMs: number): void {
    if (!this.isServed) return
    this.#ownClosing().pending = endings.shutdown(code, text)
    if (this.#runningCallbacks > 0) {
      this.setDeadline(withinMs)
      this.receiver.drop()
    } else this.leaveNow()
  }

  /** Closes a connection that is leaving, even when callbacks are still running. */
  leaveNow(): void {
    const pending = this.#closing?.pending
    if (pending !== undefined) this.close(pending)
  }

  protocolError(error: HubError): void {
    this.#ownClosing().protocolError(error)
  }

  terminating(): void {
    if (this.isOpen) this.#ownClosing().terminating()
  }

  invalidText(hangUp: () => void): void {
    if (this.isOpen) this.#ownClosing().invalidText(hangUp)
  }

  closed(code: number, reason: string): void {
    if (this.phase === 'closed') return
    const opening = this.phase === 'connecting' ? undefined : this.#opening
    this.receiver.end()
    this.#host.keepalive.forget(this)
    this.phase = 'closed'
    this.outbox.clear('closed')
    this.outbox.tellDrops()
    const closing = this.#ownClosing()
    closing.rooms = this.#host.release(this)
    const openMs = this.#openedAt < 0 ? 0 : Math.round(performance.now()) - this.#openedAt
    const end = closing.causeOf({ code, reason }, openMs)
    this.#host.tally.countClosed(end.cause, code !== CloseCode.abnormal)
    const run = () => closing.runOnClose(end.cause, end.reason)
    if (opening === undefined) run()
    else opening.deferOnClose(run, this.options.openTimeoutMs)
  }

  #ownClosing(): Closing<Meta> {
    this.#closing ??= new Closing(this)
    return this.#closing
  }

  // User code

  callbackBegan(): void {
    this.#runningCallbacks++
    this.#host.running.begin()
  }

  callbackSettled(): void {
    this.#runningCallbacks--
    this.#host.running.end()
    if (this.#runningCallbacks === 0) this.leaveNow()
  }

  failed(error: Error, where: string): void {
    this.#fail(endings.handlerFailure(error), where)
  }

  #fail(ending: endings.Failure, where: string): void {
    this.report(ending.error, where)
    this.close(ending)
  }

  report(error: Error, where?: string): void {
    this.#host.report(error, { where, connection: this.connection, path: this.path, handler: this.handler })
  }
}
