import { EventEmitter } from 'node:events'
import { HubError } from '../base/errors.ts'
import { invalid } from '../base/option-rules.ts'
import { asError } from '../base/thrown.ts'
import { type BinaryPayload, invalidPayload, type Payload, payloadBytes } from '../protocol/message.ts'
import type { Connection } from './connection.ts'
import type { SentCallback, SentCallbacks, SentCallbacksOwner } from './sent-callbacks.ts'
import { isViewListener, type ViewEventListener, type ViewEventMap, viewListener } from './view-listener.ts'

/** The bytes of messages as listeners receive them. */
export type ViewBinaryType = 'nodebuffer' | 'arraybuffer' | 'fragments'

/** The content of a message to send: a string becomes a text message, bytes a binary message. */
export type ViewData = string | number | ArrayBuffer | NodeJS.ArrayBufferView

/** A {@link SentCallback} as the types of `ws` have it for pings and pongs. */
type ControlCallback = (error: Error) => void

/** The options of a message, those of `ws`. `compress` and `mask` are ignored: the hub decides. */
export interface ViewSendOptions {
  /** Sends bytes as text (`false`), or text as bytes (`true`). */
  binary?: boolean | undefined
  compress?: boolean | undefined
  /** Must not be `false`: a hub sends whole messages. */
  fin?: boolean | undefined
  mask?: boolean | undefined
}

/** The connection behind a view. */
export interface ViewOwner extends SentCallbacksOwner {
  readonly outbox: SentCallbacksOwner['outbox'] & { readonly bufferedBytes: number }
  readonly ws: { readonly extensions?: string | undefined }
}

/** The members of a connection that a view uses. */
type Viewed = Pick<
  Connection,
  | 'state'
  | 'protocol'
  | 'sendText'
  | 'sendBinary'
  | 'sendPing'
  | 'sendPong'
  | 'pause'
  | 'resume'
  | 'close'
  | 'terminate'
>

const BINARY_TYPES: readonly unknown[] = ['nodebuffer', 'arraybuffer', 'fragments'] satisfies ViewBinaryType[]
const READY_STATES = { connecting: 0, open: 1, closing: 2, closed: 3 } as const

/**
 * A connection with the events and the members of a `ws` WebSocket, for libraries that expect one. Made by
 * {@link asWebSocket}. Emits `message` (data, isBinary), `close` (code, reason as a Buffer), `error`, `ping`
 * and `pong` (payload), and `open` if it was made before that. A listener that throws, or whose promise
 * rejects, closes the connection with 1011.
 */
export class WebSocketView extends EventEmitter {
  readonly #connection: Viewed
  readonly #owner: ViewOwner
  readonly #sent: SentCallbacks
  #binaryType: ViewBinaryType = 'nodebuffer'
  #isPaused = false

  /** @internal */
  constructor(connection: Viewed, owner: ViewOwner, sent: SentCallbacks) {
    super({ captureRejections: true })
    this.#connection = connection
    this.#owner = owner
    this.#sent = sent
  }

  get CONNECTING(): 0 {
    return READY_STATES.connecting
  }

  get OPEN(): 1 {
    return READY_STATES.open
  }

  get CLOSING(): 2 {
    return READY_STATES.closing
  }

  get CLOSED(): 3 {
    return READY_STATES.closed
  }

  /** 0 connecting, 1 open, 2 closing, 3 closed. */
  get readyState(): 0 | 1 | 2 | 3 {
    return READY_STATES[this.#connection.state]
  }

  /** Bytes accepted for sending that the operating system has not taken yet. */
  get bufferedAmount(): number {
    return this.#owner.outbox.bufferedBytes
  }

  /** The negotiated subprotocol; empty when there is none. */
  get protocol(): string {
    return this.#connection.protocol
  }

  /** `permessage-deflate` when compression was negotiated; otherwise empty. */
  get extensions(): string {
    return this.#owner.ws.extensions ?? ''
  }

  /** Always empty, as this is the side of the server. */
  get url(): string {
    return ''
  }

  /** Whether {@link WebSocketView.pause} was called last. */
  get isPaused(): boolean {
    return this.#isPaused
  }

  /** The form in which listeners receive binary messages; text is always a Buffer. Default `nodebuffer`. */
  get binaryType(): ViewBinaryType {
    return this.#binaryType
  }

  set binaryType(type: ViewBinaryType) {
    if (!BINARY_TYPES.includes(type)) {
      throw invalid('binaryType', 'is nodebuffer, arraybuffer or fragments', type)
    }
    this.#binaryType = type
  }

  /**
   * Sends a message, in the order of the calls. Does nothing when the connection is not open.
   * @param callback is called once: when the message was written to the socket, or with WSHUB_ERR_NOT_SENT
   * @throws {HubError} WSHUB_ERR_INVALID_PAYLOAD for a Blob, an array or another object, and
   *   WSHUB_ERR_INVALID_OPTION for `fin: false`, WSHUB_ERR_NOT_SENT before the connection is open
   */
  send(data: ViewData, options?: ViewSendOptions | SentCallback | null, callback?: SentCallback): void {
    const sent = typeof options === 'function' ? options : callback
    const { binary, fin } = typeof options === 'object' && options !== null ? options : {}
    if (fin === false) throw invalid('fin', 'is not false: a hub sends whole messages', fin)
    const payload = payloadOf(data)
    this.#checkOpened()
    const isAccepted =
      (binary ?? typeof payload !== 'string')
        ? this.#connection.sendBinary(asBytes(payload))
        : this.#connection.sendText(asText(payload))
    if (sent !== undefined) this.#sent.add(sent, isAccepted)
  }

  /**
   * Sends a ping of at most 125 bytes. The hub also sends pings by itself.
   * @throws {HubError} WSHUB_ERR_CONTROL_TOO_LONG, WSHUB_ERR_INVALID_PAYLOAD or WSHUB_ERR_NOT_SENT
   */
  ping(data?: ViewData | SentCallback, mask?: boolean | SentCallback, callback?: ControlCallback): void {
    this.#sendControl('sendPing', data, mask, callback)
  }

  /**
   * Sends an unsolicited pong of at most 125 bytes. The hub answers pings by itself.
   * @throws {HubError} WSHUB_ERR_CONTROL_TOO_LONG, WSHUB_ERR_INVALID_PAYLOAD or WSHUB_ERR_NOT_SENT
   */
  pong(data?: ViewData | SentCallback, mask?: boolean | SentCallback, callback?: ControlCallback): void {
    this.#sendControl('sendPong', data, mask, callback)
  }

  /**
   * Starts the closing handshake, after everything sent before.
   * @param code 1000 by default
   * @throws {HubError} WSHUB_ERR_INVALID_CLOSE when the code may not be sent or the reason is too long
   */
  close(code?: number, reason: string | Uint8Array = ''): void {
    this.#connection.close(code, typeof reason === 'string' ? reason : asText(reason))
  }

  /** Destroys the socket without a closing handshake. */
  terminate(): void {
    this.#connection.terminate()
  }

  /** Stops reading from the client. */
  pause(): void {
    this.#isPaused = true
    this.#connection.pause()
  }

  /** Resumes reading. */
  resume(): void {
    this.#isPaused = false
    this.#connection.resume()
  }

  // The members of an event target

  /** Adds a listener that receives an event object, as in a browser. The same listener is added once. */
  addEventListener<Type extends keyof ViewEventMap>(
    type: Type,
    listener: ViewEventListener<Type>,
    options: { readonly once?: boolean | undefined } = {},
  ): void {
    const added = this.#viewListeners(type)
    if (added.some(({ of, isAttribute }) => of === listener && !isAttribute)) return
    const wrapped = viewListener(type, listener, this, false)
    if (options.once === true) this.once(type, wrapped)
    else this.on(type, wrapped)
  }

  /** Removes a listener that {@link WebSocketView.addEventListener} has added. */
  removeEventListener<Type extends keyof ViewEventMap>(type: Type, listener: ViewEventListener<Type>): void {
    for (const added of this.#viewListeners(type)) {
      if (added.of === listener && !added.isAttribute) this.off(type, added)
    }
  }

  get onopen(): ((event: ViewEventMap['open']) => void) | null {
    return this.#attribute('open')
  }

  set onopen(listener: ((event: ViewEventMap['open']) => void) | null) {
    this.#setAttribute('open', listener)
  }

  get onmessage(): ((event: ViewEventMap['message']) => void) | null {
    return this.#attribute('message')
  }

  set onmessage(listener: ((event: ViewEventMap['message']) => void) | null) {
    this.#setAttribute('message', listener)
  }

  get onclose(): ((event: ViewEventMap['close']) => void) | null {
    return this.#attribute('close')
  }

  set onclose(listener: ((event: ViewEventMap['close']) => void) | null) {
    this.#setAttribute('close', listener)
  }

  get onerror(): ((event: ViewEventMap['error']) => void) | null {
    return this.#attribute('error')
  }

  set onerror(listener: ((event: ViewEventMap['error']) => void) | null) {
    this.#setAttribute('error', listener)
  }

  /** @internal A promise that a listener returned has rejected. */
  override [EventEmitter.captureRejectionSymbol](thrown: unknown, event: string | symbol): void {
    const where = `a listener of ${String(event)}`
    this.#owner.failed(asError(thrown, where), where)
  }

  #sendControl(
    method: 'sendPing' | 'sendPong',
    data: ViewData | SentCallback | undefined,
    mask: boolean | SentCallback | undefined,
    callback: ControlCallback | undefined,
  ): void {
    const sent = [data, mask, callback].find((argument) => typeof argument === 'function')
    const payload = data === undefined || typeof data === 'function' ? '' : payloadOf(data)
    this.#checkOpened()
    const isAccepted = this.#connection[method](payload)
    if (sent !== undefined) this.#sent.add(sent as SentCallback, isAccepted) // see ControlCallback
  }

  #checkOpened(): void {
    if (this.readyState !== this.CONNECTING) return
    throw new HubError('WSHUB_ERR_NOT_SENT', 'the WebSocket is not open: readyState 0 (CONNECTING)')
  }

  #viewListeners(type: string) {
    return this.listeners(type).filter(isViewListener)
  }

  #attribute<Type extends keyof ViewEventMap>(type: Type): ((event: ViewEventMap[Type]) => void) | null {
    const found = this.#viewListeners(type).find(({ isAttribute }) => isAttribute)
    return found === undefined ? null : (found.of as (event: ViewEventMap[Type]) => void) // set for this type
  }

  #setAttribute<Type extends keyof ViewEventMap>(type: Type, listener: unknown): void {
    for (const added of this.#viewListeners(type)) if (added.isAttribute) this.off(type, added)
    if (typeof listener !== 'function') return
    this.on(type, viewListener(type, listener as (event: ViewEventMap[Type]) => void, this, true))
  }
}

/** @throws {HubError} WSHUB_ERR_INVALID_PAYLOAD */
function payloadOf(data: unknown): Payload {
  if (typeof data === 'number') return String(data)
  if (typeof data === 'string' || data instanceof Uint8Array || data instanceof ArrayBuffer) return data
  if (!ArrayBuffer.isView(data)) throw invalidPayload(data)
  try {
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  } catch {
    throw invalidPayload(data) // its buffer was transferred, to a worker for example
  }
}

function asBytes(payload: Payload): BinaryPayload {
  return typeof payload === 'string' ? Buffer.from(payload) : payload
}

function asText(payload: Payload): string {
  if (typeof payload === 'string') return payload
  const { buffer, byteOffset, byteLength } = payloadBytes(payload)
  return Buffer.from(buffer, byteOffset, byteLength).toString()
}
