import { type InspectOptions, inspect } from 'node:util'
import type { MetadataKey, MetadataMap, MetadataOf } from '../base/metadata.ts'
import { invalid } from '../base/option-rules.ts'
import type { DropCount } from '../delivery/drop-count.ts'
import { CloseCode } from '../protocol/close-code.ts'
import { checkClose } from '../protocol/control-frame.ts'
import { Opcode } from '../protocol/frame-header.ts'
import {
  type BinaryPayload,
  checkSendOptions,
  invalidPayload,
  type Message,
  type Payload,
  type SendOptions,
} from '../protocol/message.ts'
import type { Ending } from './close-cause.ts'
import type { Connection, ConnectionState, ConnectionSummary } from './connection.ts'
import { closedByApplication, TERMINATED } from './endings.ts'
import { BoundedMap, type MetadataEntries } from './metadata.ts'
import { ViewHandler, type ViewHandlerOwner } from './view-handler.ts'
import type { WebSocketView } from './web-socket-view.ts'

/** The number of rooms that a summary shows: a connection may be in a thousand. */
const SHOWN_ROOMS = 10

/** The behaviour behind a {@link HubConnection}. */
export interface ConnectionCore<Meta extends object>
  extends Pick<
      Connection<Meta>,
      'hub' | 'state' | 'rooms' | 'expiresAt' | 'openedAt' | 'bufferedBytes' | 'renew'
    >,
    ViewHandlerOwner<Meta> {
  readonly options: { readonly limits: { readonly maxMetadataEntries: number } }
  readonly ws: { readonly protocol: string; readonly extensions?: string | undefined }
  readonly sender: {
    readonly lastPingTime: number
    readonly dropped: Readonly<DropCount>
    /** @returns `false` when the connection is not open or the message was dropped */
    send(data: Payload, options: SendOptions | undefined): boolean
    /** @returns `false` when the connection is not open */
    sendControl(opcode: typeof Opcode.ping | typeof Opcode.pong, data: Payload): boolean
  }
  readonly receiver: {
    readonly lastPongTime: number
    pause(): void
    resume(): void
  }
  iterate(): AsyncGenerator<Message, void, undefined>
  /** @returns `false` when the connection was already closing or closed */
  close(ending: Ending): boolean
  terminate(ending: Ending): void
}

/**
 * The object that applications hold. It has the members of {@link Connection} and no others, so what the hub
 * does with the session behind it cannot be reached from JavaScript. The members check the arguments.
 */
export class HubConnection<out Meta extends object> implements Connection<Meta> {
  // Behind getters, so that JavaScript cannot assign them: the hub finds the connection by its id.
  readonly #id: string
  readonly #remoteAddress: string | undefined
  readonly #core: ConnectionCore<Meta>
  #metadata: MetadataMap<Meta> | undefined

  constructor(
    core: ConnectionCore<Meta>,
    id: string,
    remoteAddress: string | undefined,
    metadata: MetadataEntries,
  ) {
    this.#core = core
    this.#id = id
    this.#remoteAddress = remoteAddress
    for (const [key, value] of metadata) {
      // Object.entries forgot the type of the key
      this.metadata.set(key as MetadataKey<Meta>, value as MetadataOf<Meta>[MetadataKey<Meta>])
    }
  }

  /** Returns whether a value is one. `instanceof` admits a Proxy, whose members throw. */
  static is(value: unknown): value is HubConnection<object> {
    return typeof value === 'object' && value !== null && #core in value
  }

  /** Returns the view of a connection. JavaScript may call this as well: it reveals nothing else. */
  static asWebSocket<Meta extends object>(connection: HubConnection<Meta>): WebSocketView {
    const core = connection.#core
    if (core.handler instanceof ViewHandler) return core.handler.view
    const handler = new ViewHandler(connection, core)
    core.handler = handler
    return handler.view
  }

  get id(): string {
    return this.#id
  }

  get remoteAddress(): string | undefined {
    return this.#remoteAddress
  }

  get hub(): Connection<Meta>['hub'] {
    return this.#core.hub
  }

  get state(): ConnectionState {
    return this.#core.state
  }

  get rooms(): ReadonlySet<string> {
    return this.#core.rooms
  }

  get metadata(): MetadataMap<Meta> {
    const { maxMetadataEntries } = this.#core.options.limits
    // The cast types the Map by its keys.
    this.#metadata ??= new BoundedMap<string, unknown>(maxMetadataEntries) as MetadataMap<Meta>
    return this.#metadata
  }

  get expiresAt(): number | undefined {
    return this.#core.expiresAt
  }

  get protocol(): string {
    return this.#core.ws.protocol
  }

  get openedAt(): number {
    return this.#core.openedAt
  }

  get lastPingTime(): number {
    return this.#core.sender.lastPingTime
  }

  get lastPongTime(): number {
    return this.#core.receiver.lastPongTime
  }

  get bufferedBytes(): number {
    return this.#core.bufferedBytes
  }

  get dropped(): Readonly<DropCount> {
    return this.#core.sender.dropped
  }

  sendText(data: string, options?: SendOptions): boolean {
    if (typeof data !== 'string') throw invalidPayload(data)
    if (options !== undefined) checkSendOptions(options)
    return this.#core.sender.send(data, options)
  }

  sendBinary(data: BinaryPayload, options?: SendOptions): boolean {
    if (typeof data === 'string') throw invalidPayload(data)
    if (options !== undefined) checkSendOptions(options)
    return this.#core.sender.send(data, options)
  }

  sendPing(data: Payload = ''): boolean {
    return this.#core.sender.sendControl(Opcode.ping, data)
  }

  sendPong(data: Payload = ''): boolean {
    return this.#core.sender.sendControl(Opcode.pong, data)
  }

  pause(): void {
    this.#core.receiver.pause()
  }

  resume(): void {
    this.#core.receiver.resume()
  }

  [Symbol.asyncIterator](): AsyncGenerator<Message, void, undefined> {
    return this.#core.iterate()
  }

  renew(at: Date | number | undefined): void {
    this.#core.renew(at)
  }

  close(code: number = CloseCode.normal, reason = ''): boolean {
    checkClose(code, reason)
    return this.#core.close(closedByApplication(code, reason))
  }

  terminate(): void {
    this.#core.terminate(TERMINATED)
  }

  inRoom(room: string): boolean {
    return this.#core.rooms.has(room)
  }

  setMetadata<Key extends MetadataKey<Meta>>(key: Key, value: MetadataOf<Meta>[Key]): void {
    if (typeof key !== 'string') throw invalid('the key of setMetadata', 'is a string', key)
    this.metadata.set(key, value)
  }

  getMetadata<Key extends MetadataKey<Meta>>(key: Key): MetadataOf<Meta>[Key] | undefined {
    return this.#metadata?.get(key)
  }

  toJSON(): ConnectionSummary {
    const { id, state, remoteAddress, protocol, rooms, bufferedBytes, expiresAt } = this
    return {
      id,
      state,
      remoteAddress,
      protocol,
      rooms: [...rooms].slice(0, SHOWN_ROOMS),
      moreRooms: Math.max(0, rooms.size - SHOWN_ROOMS),
      bufferedBytes,
      expiresAt: expiresAt === undefined ? undefined : new Date(expiresAt),
    }
  }

  [inspect.custom](_depth: number, options: InspectOptions): string {
    return `Connection ${inspect(this.toJSON(), options)}`
  }
}
