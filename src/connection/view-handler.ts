import type { Dropped } from '../delivery/drop-count.ts'
import type { Message } from '../protocol/message.ts'
import { type CallbackRunner, runnerOf } from './callback-context.ts'
import type { CloseCause } from './close-cause.ts'
import type { Connection } from './connection.ts'
import type { CallbackName, EventHandler } from './event-handler.ts'
import { type CallbackOwner, runCallback } from './run-callback.ts'
import { SentCallbacks } from './sent-callbacks.ts'
import { type ViewOwner, WebSocketView } from './web-socket-view.ts'

/** The connection of a {@link ViewHandler}. */
export interface ViewHandlerOwner<Meta extends object> extends CallbackOwner, ViewOwner {
  /** The callbacks of the connection. */
  handler: EventHandler<Meta>
  /** Whether messages that arrive are delivered. */
  readonly isDelivering: boolean
}

/** Takes the place of a handler: calls it, and then emits the same on a {@link WebSocketView}. */
export class ViewHandler<out Meta extends object> implements EventHandler<Meta> {
  /** The handler of the application. */
  readonly inner: EventHandler<Meta>
  readonly view: WebSocketView
  readonly #owner: ViewHandlerOwner<Meta>
  readonly #sent: SentCallbacks
  /** Runs listeners in the context of the callbacks. */
  readonly #run: CallbackRunner

  constructor(connection: Connection<Meta>, owner: ViewHandlerOwner<Meta>) {
    this.inner = owner.handler
    this.#owner = owner
    this.#run = runnerOf(this.inner)
    this.#sent = new SentCallbacks(owner)
    this.view = new WebSocketView(connection, owner, this.#sent)
  }

  /** Only of a connection that became a view before it was open. */
  onOpen(connection: Connection<Meta>): unknown {
    const result = this.inner.onOpen?.(connection)
    this.#emitLive('onOpen', 'open')
    return result
  }

  onMessage(connection: Connection<Meta>, message: Message): unknown {
    const result = this.inner.onMessage?.(connection, message)
    if (message.type === 'text') this.#emitLive('onMessage', 'message', Buffer.from(message.data), false)
    else this.#emitLive('onMessage', 'message', this.#binary(message.data), true)
    return result
  }

  onPing(connection: Connection<Meta>, payload: Buffer): unknown {
    const result = this.inner.onPing?.(connection, payload)
    this.#emitLive('onPing', 'ping', payload)
    return result
  }

  onPong(connection: Connection<Meta>, payload: Buffer): unknown {
    const result = this.inner.onPong?.(connection, payload)
    this.#emitLive('onPong', 'pong', payload)
    return result
  }

  onClose(connection: Connection<Meta>, code: number, reason: string, cause: CloseCause): unknown {
    try {
      return this.inner.onClose?.(connection, code, reason, cause)
    } finally {
      this.#sent.closed()
      this.#emit('onClose', 'close', code, Buffer.from(reason))
    }
  }

  onDrop(connection: Connection<Meta>, dropped: Dropped): unknown {
    if (dropped.reason === 'dropOldest') this.#sent.dropped(dropped.messages)
    return this.inner.onDrop?.(connection, dropped)
  }

  onBehind(connection: Connection<Meta>, room: string): unknown {
    return this.inner.onBehind?.(connection, room)
  }

  onExpire(connection: Connection<Meta>): unknown {
    return this.inner.onExpire?.(connection)
  }

  /** The hub has found an error, and reported it. */
  failed(error: Error): void {
    // Without a listener, an event emitter throws.
    if (this.view.listenerCount('error') > 0) this.#emit('onError', 'error', error)
  }

  /** The handler may have closed the connection. */
  #emitLive(name: CallbackName, event: string, ...args: readonly unknown[]): void {
    if (this.#owner.isDelivering) this.#emit(name, event, ...args)
  }

  /** A callback of its own: what a listener throws must not lose the promise that the handler returned. */
  #emit(name: CallbackName, event: string, ...args: readonly unknown[]): void {
    const emit = () => void this.view.emit(event, ...args)
    runCallback(name, () => this.#run(name, emit), this.#owner)
  }

  #binary(data: Buffer): Buffer | ArrayBufferLike | Buffer[] {
    switch (this.view.binaryType) {
      case 'nodebuffer':
        return data
      case 'fragments':
        return [data]
      case 'arraybuffer': {
        const { buffer, byteOffset, byteLength } = data
        const isWhole = byteLength === buffer.byteLength
        return isWhole ? buffer : buffer.slice(byteOffset, byteOffset + byteLength)
      }
    }
  }
}
