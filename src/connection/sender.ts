import { channel } from 'node:diagnostics_channel'
import type { Origin } from '../delivery/backlog.ts'
import { addDrops, type DropCount, type DropReason, noDrops } from '../delivery/drop-count.ts'
import { Outbox } from '../delivery/outbox.ts'
import type { OutboxOwner } from '../delivery/outbox-owner.ts'
import { OutgoingMessage } from '../delivery/outgoing-message.ts'
import type { SharedWindow, SharedWindows } from '../delivery/shared-windows.ts'
import { controlPayload } from '../protocol/control-frame.ts'
import { Frame } from '../protocol/frame.ts'
import { Opcode } from '../protocol/frame-header.ts'
import type { Payload, SendOptions } from '../protocol/message.ts'
import { encodeMessage, frameOf, isCompressedFrame, type MessageFrame } from '../protocol/message-frame.ts'
import type { Connection } from './connection.ts'
import type { ConnectionHost } from './connection-host.ts'
import type { EventHandler } from './event-handler.ts'
import { OPEN } from './hub-websocket.ts'
import { type CallbackOwner, runCallback } from './run-callback.ts'
import type { Transport } from './transport.ts'

// One frame for all: 15,000 idle clients are pinged 500 times a second.
const KEEPALIVE_PING = Frame.ping().encode()

/** An empty text message, for each client that was sent nothing for a while. */
const HEARTBEAT = encodeMessage('')

const sendChannel = channel('wshub:send')
const dropChannel = channel('wshub:drop')
const behindChannel = channel('wshub:behind')

/** The connection that a {@link Sender} belongs to. */
export interface SenderOwner<Meta extends object> extends CallbackOwner {
  readonly connection: Connection<Meta>
  readonly handler: EventHandler<Meta>
  /** Whether neither side has sent a close frame. */
  readonly isOpen: boolean
  /**
   * Closes the connection: too much waits for this client, or for all clients together and this one has the
   * most.
   */
  overflow(of: 'client' | 'hub'): void
  /** Messages that can be read again were dropped: in each log, all from the given one on. */
  resync(firsts: Iterable<Origin>): void
}

/** The sending half of a connection: makes frames of messages, and counts those that are sent and dropped. */
export class Sender<out Meta extends object> implements OutboxOwner {
  readonly outbox: Outbox
  readonly #owner: SenderOwner<Meta>
  readonly #ws: Transport['ws']
  readonly #windowBits: number
  /** Only while the connection is open, and if its window is one that others may share. */
  #windows: SharedWindows | undefined
  /** The text that the client received compressed last, if that is known. */
  #window: SharedWindow | undefined
  readonly #host: ConnectionHost
  #dropped: DropCount | undefined
  lastPingTime = 0
  /** When the last ping was sent, by the clock of `performance`, in whole ms; -1 once it is answered. */
  #pingedAt = -1
  /** The messages that were accepted, without heartbeats. */
  messages = 0

  constructor(owner: SenderOwner<Meta>, transport: Transport, host: ConnectionHost) {
    const { ws, socket, windowBits, keepsContext } = transport
    const { windows } = host.delivery
    this.#owner = owner
    this.#ws = ws
    this.#windowBits = windowBits
    this.#windows = windows !== undefined && keepsContext && windowBits >= windows.bits ? windows : undefined
    this.#host = host
    this.outbox = new Outbox(socket, host.delivery, this)
  }

  get dropped(): Readonly<DropCount> {
    return { ...(this.#dropped ?? noDrops()) }
  }

  /** Queues a message; `false` when the connection is not open or the message was dropped. */
  send(data: Payload, options: SendOptions | undefined): boolean {
    if (!this.#owner.isOpen) return false
    const isAccepted =
      this.#windowBits === 0
        ? this.#accept(frameOf(data), options)
        : this.#acceptAlone(new OutgoingMessage(data, this.#host.options.enableCompression), options)
    if (isAccepted && sendChannel.hasSubscribers) {
      sendChannel.publish({ connection: this.#owner.connection, data })
    }
    return isAccepted
  }

  /** Queues a message that is shared with others, like {@link Sender.send}. */
  deliver(message: OutgoingMessage, options: SendOptions | undefined, origin?: Origin): boolean {
    if (!this.#owner.isOpen) return false
    const windows = this.#windows
    // A message that waits for a congested socket may be dropped: nothing behind it may refer to it.
    if (windows?.isCurrent(message) && !this.outbox.isCongested) {
      const { frame, next } = windows.frame(message, this.#window)
      const isAccepted = this.#accept(frame, options, origin)
      if (isAccepted && next !== undefined) this.#moveWindow(next)
      return isAccepted
    }
    return this.#acceptAlone(message, options, origin)
  }

  /** Queues a ping or a pong; `false` when the connection is not open. */
  sendControl(opcode: typeof Opcode.ping | typeof Opcode.pong, data: Payload): boolean {
    const payload = controlPayload(data)
    if (!this.#owner.isOpen) return false
    this.outbox.sendControl(new Frame({ opcode, payload }).encode())
    if (opcode === Opcode.ping) this.#pinged()
    return true
  }

  /** Sends a ping of the keepalive. */
  ping(): void {
    if (!this.#owner.isOpen) return
    this.outbox.sendControl(KEEPALIVE_PING)
    this.#pinged()
  }

  #pinged(): void {
    this.lastPingTime = Date.now()
    this.#pingedAt = Math.round(performance.now())
  }

  get isAwaitingPong(): boolean {
    return this.#pingedAt >= 0
  }

  /** Returns the time, in ms, since a ping that was not answered yet; `undefined` if there is none. */
  answerPing(): number | undefined {
    if (this.#pingedAt < 0) return undefined
    const roundTripMs = Math.round(performance.now()) - this.#pingedAt
    this.#pingedAt = -1
    return roundTripMs
  }

  /**
   * Sends a heartbeat, which is counted like a ping, since it is not a message of the application. A client
   * with messages waiting gets those instead.
   */
  beat(): void {
    if (this.#owner.isOpen && this.outbox.bufferedBytes === 0) this.outbox.sendControl(HEARTBEAT)
  }

  /** Whether a data frame may still be written: not after a close frame. */
  get writable(): boolean {
    return this.#ws.readyState === OPEN
  }

  overflow(of: 'client' | 'hub'): void {
    this.#owner.overflow(of)
  }

  resync(firsts: Iterable<Origin>): void {
    this.#owner.resync(firsts)
  }

  reportDrops(drops: ReadonlyMap<DropReason, DropCount>): void {
    this.#dropped ??= noDrops()
    const owner = this.#owner
    const { connection } = owner
    for (const [reason, count] of drops) {
      addDrops(this.#dropped, count)
      const dropped = { reason, ...count }
      if (dropChannel.hasSubscribers) dropChannel.publish({ connection, dropped })
      runCallback('onDrop', () => owner.handler.onDrop?.(connection, dropped), owner)
    }
  }

  /** Messages of a room were lost for this connection, and cannot be replayed. */
  fellBehind(room: string): void {
    // In a turn of its own: no user code runs inside a broadcast.
    process.nextTick(() => {
      if (this.#owner.isOpen) this.#runOnBehind(room)
    })
  }

  #runOnBehind(room: string): void {
    const owner = this.#owner
    const { connection } = owner
    if (behindChannel.hasSubscribers) behindChannel.publish({ connection, room })
    runCallback('onBehind', () => owner.handler.onBehind?.(connection, room), owner)
  }

  /** Drops what was not written, of a connection that is closed. */
  closed(): void {
    this.outbox.clear('closed')
    this.outbox.tellDrops()
    this.#moveWindow(undefined)
    this.#windows = undefined
  }

  #moveWindow(to: SharedWindow | undefined): void {
    this.#windows?.move(this.#window, to)
    this.#window = to
  }

  /** Queues a message plain, or compressed by itself. */
  #acceptAlone(message: OutgoingMessage, options: SendOptions | undefined, origin?: Origin): boolean {
    const frame = message.frame(this.#windowBits)
    const isAccepted = this.#accept(frame, options, origin)
    if (isAccepted && isCompressedFrame(frame)) this.#moveWindow(undefined)
    return isAccepted
  }

  #accept(frame: MessageFrame, options: SendOptions | undefined, origin?: Origin): boolean {
    if (!this.outbox.send(frame, options, origin)) return false
    this.messages++
    this.#host.tally.countSent(frame.length)
    return true
  }
}
