import type { AsyncLocalStorage } from 'node:async_hooks'
import type { WsMessageHandler } from '@nestjs/common'
import { isObservable, lastValueFrom, type Observable, Subject, takeUntil, tap } from 'rxjs'
import type { Connection, EventHandler, Message, Metadata, Payload } from 'wshub'
import type { ClientLimits } from './hub-adapter-options.ts'
import type { GatewayMessage, MessageFormat } from './message-format.ts'

/** A connection as gateways get it: `@ConnectedSocket() conn: GatewayConnection`. */
export interface GatewayConnection<Meta extends object = Metadata> extends Connection<Meta> {
  /**
   * Sends an event in the format of the adapter, by default as JSON. Nest's exception filters use it, so
   * `exception` gets the `id` of the message that is handled.
   * @returns as `sendText`
   */
  emit(event: string, data?: unknown): boolean
}

/** The handlers of one gateway for a connection, and Nest's way to read what they return. */
interface Binding {
  readonly handlers: readonly WsMessageHandler[]
  readonly transform: (result: unknown) => Observable<unknown>
}

/** The parts of an adapter that all its connections share. */
export interface SessionHost {
  readonly limits: ClientLimits
  readonly format: MessageFormat
  /** Emits when the application closes. */
  readonly closing: Observable<unknown>
  /** The message that is handled: Nest tells exception filters its connection, but not its `id`. */
  readonly handled: AsyncLocalStorage<HandledMessage>
}

/** A message that a handler has. Emptied when the handler has settled: what it began may go on for long. */
export interface HandledMessage {
  connection: object | undefined
  id: GatewayMessage['id']
}

/** One connection of the gateways of a path. */
export class GatewaySession<Meta extends object> implements EventHandler<Meta> {
  readonly #host: SessionHost
  readonly bindings: Binding[] = []
  readonly onDisconnect: ((reason: string) => void)[] = []
  /** Forgotten when it has run, since it holds the request. */
  #connected: ((connection: Connection<Meta>) => void) | undefined
  /** Results of the hooks, while Nest calls them. */
  #hooks: unknown[] | undefined
  #running = 0
  #streams = 0
  #closed: Subject<void> | undefined

  /** @param connected tells the gateways of the path, which bind their handlers then */
  constructor(host: SessionHost, connected: (connection: Connection<Meta>) => void) {
    this.#host = host
    this.#connected = connected
  }

  /** Calls a method, and keeps its result if it is Nest that calls it, which would not wait for it. */
  runHook(hook: () => unknown): unknown {
    if (this.#hooks === undefined) return hook()
    try {
      this.#hooks.push(hook())
    } catch (error) {
      this.#hooks.push(Promise.reject(error))
    }
    return undefined
  }

  /** Messages wait until the gateways have settled. */
  onOpen(connection: Connection<Meta>): Promise<unknown> | undefined {
    const { format, handled } = this.#host
    const emit = (event: string, data?: unknown) => {
      const message = event === 'exception' ? handled.getStore() : undefined
      const id = message?.connection === connection ? message.id : undefined
      return send(connection, format.write(event, data, id))
    }
    Object.defineProperty(connection, 'emit', { value: emit })
    const connected = this.#connected
    this.#connected = undefined
    return this.#settled(() => connected?.(connection))
  }

  onMessage(connection: Connection<Meta>, message: Message): Promise<unknown> | undefined {
    const received = this.#host.format.read(message)
    if (received === undefined) return undefined
    const answers = this.bindings.flatMap(({ handlers, transform }) => {
      const handler = handlers.find(({ message }) => message === received.event)
      return handler === undefined ? [] : [this.#handle(connection, received, handler, transform)]
    })
    return answers.length === 0 ? undefined : Promise.all(answers)
  }

  onClose(_connection: Connection<Meta>, code: number, reason: string): Promise<unknown> | undefined {
    this.#closed?.next()
    return this.#settled(() => {
      for (const callback of this.onDisconnect) callback(`${code} ${reason}`.trim())
    })
  }

  /** Returns a promise of the methods that Nest calls meanwhile; `undefined` if it calls none. */
  #settled(call: () => void): Promise<unknown> | undefined {
    const hooks: unknown[] = []
    this.#hooks = hooks
    try {
      call()
    } finally {
      this.#hooks = undefined
    }
    return hooks.length > 0 ? Promise.all(hooks) : undefined
  }

  /** Settles when everything is answered; rejects with an error that no exception filter has taken. */
  async #handle(
    connection: Connection<Meta>,
    received: GatewayMessage,
    handler: WsMessageHandler,
    transform: Binding['transform'],
  ): Promise<void> {
    const message: HandledMessage = { connection, id: received.id }
    try {
      await this.#host.handled.run(message, () => this.#answer(connection, received, handler, transform))
    } finally {
      message.connection = undefined
    }
  }

  async #answer(
    connection: Connection<Meta>,
    received: GatewayMessage,
    { callback }: WsMessageHandler,
    transform: Binding['transform'],
  ): Promise<void> {
    const { format, limits, closing } = this.#host
    const acknowledge = (data: unknown) =>
      send(connection, format.write(received.event, data ?? null, received.id))
    const answer = (value: unknown) => {
      if (value !== undefined && value !== null) send(connection, format.writeAnswer(value, received))
    }
    if (++this.#running === limits.maxPendingMessages) connection.pause()
    let result: unknown
    try {
      result = await callback(received.data, acknowledge)
    } finally {
      if (this.#running-- === limits.maxPendingMessages) connection.resume()
    }
    if (!isObservable(result)) return answer(result)
    if (connection.state === 'closed') return
    if (this.#streams >= limits.maxStreams) {
      const refusal = { status: 'error', message: 'Too many streams' }
      send(connection, format.write('exception', refusal, received.id))
      return
    }
    this.#closed ??= new Subject()
    this.#streams++
    try {
      const values = transform(result).pipe(takeUntil(this.#closed), takeUntil(closing), tap(answer))
      await lastValueFrom(values, { defaultValue: undefined })
    } finally {
      this.#streams--
    }
  }
}

/** Sends what a format has written. */
function send(connection: Connection<object>, payload: Payload): boolean {
  return typeof payload === 'string' ? connection.sendText(payload) : connection.sendBinary(payload)
}
