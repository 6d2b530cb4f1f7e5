import type { HubError } from '../base/errors.ts'
import type { Origin } from '../delivery/backlog.ts'
import type { Outbox } from '../delivery/outbox.ts'
import type { OutgoingMessage } from '../delivery/outgoing-message.ts'
import type { Message, SendOptions } from '../protocol/message.ts'
import type { Ending } from './close-cause.ts'
import { Closing, type ClosingOwner } from './closing.ts'
import type { Connection, ConnectionState } from './connection.ts'
import type { ConnectionHost } from './connection-host.ts'
import { Credential, type CredentialOwner } from './credential.ts'
import * as endings from './endings.ts'
import type { EventHandler } from './event-handler.ts'
import { type ConnectionCore, HubConnection } from './hub-connection.ts'
import { OPEN, type WebSocketListener } from './hub-websocket.ts'
import { type KeepalivePeer, Liveness } from './keepalive.ts'
import type { MetadataEntries } from './metadata.ts'
import { Opening } from './opening.ts'
import { Receiver, type ReceiverOwner } from './receiver.ts'
import { Sender, type SenderOwner } from './sender.ts'
import type { SessionHost } from './session-host.ts'
import type { Transport } from './transport.ts'

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
  handler: EventHandler<Meta>
  readonly ws: Transport['ws']
  readonly socket: Transport['socket']
  readonly sender: Sender<Meta>
  readonly receiver: Receiver<Meta>
  phase: ConnectionState = 'connecting'

  readonly #host: SessionHost<Meta, Session<Meta>>
  readonly #gate: Transport['gate']
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
    host: SessionHost<Meta, Session<Meta>>,
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
    this.sender = new Sender(this, transport, host)
    this.receiver = new Receiver(this, transport.ws, host)
    this.connection = new HubConnection(this, id, transport.remoteAddress, metadata)
    transport.ws.listener = this
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
    return this.sender.outbox
  }

  get expiresAt(): number | undefined {
    return this.#credential?.expiresAt
  }

  get openedAt(): number {
    return this.#openedAt < 0 ? 0 : Math.round(performance.timeOrigin) + this.#openedAt
  }

  get bufferedBytes(): number {
    return this.outbox.bufferedBytes + this.receiver.bufferedBytes + (this.#gate?.heldBytes ?? 0)
  }

  /**
   * Calls `onOpen`, and then delivers the messages. Resolves once `onOpen` has settled.
   * @param isQuiet whether no message can arrive before the promises of this tick have settled
   */
  open(isQuiet = false): Promise<Connection<Meta>> {
    this.#opening ??= new Opening(this)
    const opening = this.#opening
    if (this.ws.readyState !== OPEN) {
      this.ws.on('open', () => void this.open())
      return opening.opened
    }
    this.phase = 'open'
    this.#openedAt = Math.round(performance.now())
    if (!isQuiet) this.ws.pause() // otherwise only for an `onOpen` that is pending
    this.#host.keepalive.watch(this)
    opening.run(() => this.#openSettled())
    if (isQuiet && this.#opening !== undefined && this.isOpen) this.ws.pause()
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
    if (this.#credential?.isExpired) this.#credential.expired()
    opening.settle(this.receiver)
  }

  // Sending

  deliver(message: OutgoingMessage, options: SendOptions | undefined, origin?: Origin): boolean {
    return this.sender.deliver(message, options, origin)
  }

  resync(firsts: Iterable<Origin>): void {
    this.#host.resync(this, firsts)
  }

  fellBehind(room: string): void {
    this.sender.fellBehind(room)
  }

  overflow(of: 'client' | 'hub'): void {
    const ending = endings.tooSlow(of, this.options)
    if (this.phase === 'open') this.#ownClosing().overflow(ending, of)
    else if (of === 'hub') this.terminate(ending)
  }

  // Receiving

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

  // The credential and the keepalive

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

  get bytesRead(): number {
    // A client that reads its backlog is alive, and answers a ping only when it has read that far.
    return (this.socket.bytesRead ?? this.receiver.eventsRead) + this.outbox.takenBytes
  }

  get isPaused(): boolean {
    return this.phase === 'connecting' || this.ws.isPaused
  }

  get isAwaitingPong(): boolean {
    return this.sender.isAwaitingPong
  }

  get isClosing(): boolean {
    return this.state === 'closing'
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
    this.sender.closed()
    const closing = this.#ownClosing()
    closing.rooms = this.#host.release(this)
    const openMs = this.#openedAt < 0 ? 0 : Math.round(performance.now()) - this.#openedAt
    const run = closing.end({ code, reason }, openMs, this.#host.tally)
    if (opening === undefined) run()
    else opening.deferOnClose(run, this.options.openTimeoutMs, this.#host.deferred)
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
