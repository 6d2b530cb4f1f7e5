import { channel } from 'node:diagnostics_channel'
import type { Message } from '../protocol/message.ts'
import type { Ending } from './close-cause.ts'
import type { Connection, ConnectionState } from './connection.ts'
import type { ConnectionHost } from './connection-host.ts'
import { protocolFailure, tooFast } from './endings.ts'
import type { EventHandler } from './event-handler.ts'
import { type MessageListener, messageTooBig, type SessionWebSocket } from './hub-websocket.ts'
import { Inbox, type InboxOwner } from './inbox.ts'
import { RateLimit } from './rate-limit.ts'
import { type CallbackOwner, runCallback } from './run-callback.ts'

const messageChannel = channel('wshub:message')

/** The connection that a {@link Receiver} belongs to. */
export interface ReceiverOwner<Meta extends object> extends CallbackOwner {
  readonly connection: Connection<Meta>
  readonly handler: EventHandler<Meta>
  readonly sender: { answerPing(): number | undefined }
  /** Whether `onOpen` has not settled, so that messages wait. */
  readonly isOpening: boolean
  /** Whether messages that arrive are delivered. */
  readonly isDelivering: boolean
  /** The state as this side sees it. */
  readonly phase: ConnectionState
  close(ending: Ending): void
  report(error: Error): void
}

/**
 * The receiving half of a connection: passes messages, pings and pongs on to the callbacks, or to an
 * iteration.
 */
export class Receiver<out Meta extends object> implements InboxOwner, MessageListener {
  readonly #owner: ReceiverOwner<Meta>
  readonly #ws: SessionWebSocket
  readonly #host: ConnectionHost
  /** Created when messages may have to wait, and where the rates are limited. */
  #inbox: Inbox | undefined
  #isStopped = false
  /** The number of messages, pings and pongs that have arrived. */
  eventsRead = 0
  lastPongTime = 0

  constructor(owner: ReceiverOwner<Meta>, ws: SessionWebSocket, host: ConnectionHost) {
    this.#owner = owner
    this.#ws = ws
    this.#host = host
    const rate = RateLimit.of(host.options.limits)
    if (rate !== undefined) this.#inbox = new Inbox(this, rate)
  }

  /** Bytes of the messages that wait. */
  get bufferedBytes(): number {
    return this.#inbox?.bytes ?? 0
  }

  received(data: Buffer, isBinary: boolean): void {
    this.eventsRead++
    const { connection, isDelivering, isOpening } = this.#owner
    if (!isDelivering) return
    const { options, tally } = this.#host
    if (data.length > options.maxMessageSize) {
      // From a WebSocket that was opened elsewhere; one of the hub has this limit itself.
      const ending = protocolFailure(messageTooBig())
      this.#owner.close(ending)
      this.#owner.report(ending.error)
      return
    }
    tally.countReceived(data.length)
    const message: Message = isBinary ? { type: 'binary', data } : { type: 'text', data: data.toString() }
    if (messageChannel.hasSubscribers) {
      messageChannel.publish({ connection, message, bytes: data.length })
    }
    if (this.#inbox === undefined && !isOpening) this.callOnMessage(message)
    else this.#ownInbox().receive(message, data.length, isOpening)
  }

  callOnMessage(message: Message): void {
    const owner = this.#owner
    if (!owner.isDelivering) return
    runCallback('onMessage', () => owner.handler.onMessage?.(owner.connection, message), owner)
  }

  pinged(payload: Buffer): void {
    this.eventsRead++
    this.#inbox?.receivePing(payload.length)
    const owner = this.#owner
    if (!owner.isDelivering) return
    runCallback('onPing', () => owner.handler.onPing?.(owner.connection, payload), owner)
  }

  ponged(payload: Buffer): void {
    this.eventsRead++
    const owner = this.#owner
    const roundTripMs = owner.sender.answerPing() // a pong may also come unasked, or again
    if (roundTripMs !== undefined) this.#host.tally.countPong(roundTripMs)
    this.lastPongTime = Date.now()
    if (!owner.isDelivering) return
    runCallback('onPong', () => owner.handler.onPong?.(owner.connection, payload), owner)
  }

  pause(): void {
    if (this.#owner.phase !== 'closed') this.#ownInbox().pause()
  }

  resume(): void {
    this.#inbox?.resume()
  }

  iterate(): AsyncGenerator<Message, void, undefined> {
    return this.#ownInbox().iterate()
  }

  /** Holds messages back; each call is followed by one of {@link Receiver.release}. */
  hold(): void {
    this.#ownInbox().hold()
  }

  release(): void {
    this.#inbox?.release()
  }

  /** Whether nothing holds back what arrives. */
  get isFlowing(): boolean {
    return this.#inbox === undefined && !this.#ws.isPaused
  }

  /** Delivers the first messages: `onOpen` has settled. */
  start(): void {
    if (this.#inbox === undefined) this.#ws.resume()
    else this.#inbox.flow()
  }

  /** Drops the messages that wait, and reads on: the client may answer a ping, or close. */
  drop(): void {
    this.#inbox?.clear()
    this.#ws.resume()
  }

  /** Drops the messages that wait: this side is closing the connection. */
  stop(): void {
    this.#isStopped = true
    this.#inbox?.clear()
  }

  /** Delivers the messages that wait: the connection is closed. */
  end(): void {
    this.#inbox?.end()
    this.#isStopped = true
  }

  resumeReading(): void {
    if (!this.#owner.isOpening) this.#ws.resume()
  }

  pauseReading(): void {
    if (!this.#isStopped) this.#ws.pause() // else the answer to the close frame could not be read
  }

  exceeded(message: string): void {
    const owner = this.#owner
    if (owner.phase !== 'open') return
    const ending = tooFast(message)
    owner.report(ending.error)
    owner.close(ending)
  }

  callbackBegan(): void {
    this.#owner.callbackBegan()
  }

  callbackSettled(): void {
    this.#owner.callbackSettled()
  }

  #ownInbox(): Inbox {
    if (this.#inbox === undefined) {
      this.#inbox = new Inbox(this)
      if (this.#isStopped) this.#inbox.clear()
    }
    return this.#inbox
  }
}
