import type { Metadata, MetadataKey, MetadataMap, MetadataOf } from '../base/metadata.ts'
import type { DropCount } from '../delivery/drop-count.ts'
import type { Hub } from '../hub/hub.ts'
import type { BinaryPayload, Message, Payload, SendOptions } from '../protocol/message.ts'

/** The stages of a connection's life, in their order; a connection never goes back to an earlier one. */
export type ConnectionState = 'connecting' | 'open' | 'closing' | 'closed'

/** The part of a connection that `toJSON` and `util.inspect` show. */
export interface ConnectionSummary {
  readonly id: string
  readonly state: ConnectionState
  readonly remoteAddress: string | undefined
  readonly protocol: string
  /** The first ten rooms. */
  readonly rooms: readonly string[]
  /** The number of rooms beyond those ten. */
  readonly moreRooms: number
  readonly bufferedBytes: number
  readonly expiresAt: Date | undefined
}

/** One client of a {@link Hub}. Made by `hub.upgrade` and `hub.register`. */
export interface Connection<out Meta extends object = Metadata> {
  /** Unique across a cluster. Not a secret: it can be guessed. */
  readonly id: string

  /**
   * Address of the client as `trustProxy` or the framework's own setting determines it, otherwise of the TCP
   * peer. `undefined` for sockets without an address.
   */
  readonly remoteAddress: string | undefined

  /** The hub that this connection belongs to. */
  readonly hub: Hub<Meta>

  /** The state as observed: `closing` also from the moment that the client's close frame has arrived. */
  readonly state: ConnectionState

  /** The rooms that this connection is in, live; once closed, the rooms that it was in. */
  readonly rooms: ReadonlySet<string>

  /** Data that the application attaches to this connection. Only this process sees it. */
  readonly metadata: MetadataMap<Meta>

  /** Time at which the credential expires, in ms since the epoch; `undefined` = never. */
  readonly expiresAt: number | undefined

  /** The negotiated subprotocol; empty when there is none. */
  readonly protocol: string

  /** When it was opened, in ms since the epoch; 0 = not yet. */
  readonly openedAt: number

  /** When the last ping was sent, in ms since the epoch; 0 = never. */
  readonly lastPingTime: number

  /** When the last pong arrived, in ms since the epoch; 0 = never. */
  readonly lastPongTime: number

  /**
   * Bytes held in memory in both directions. Outgoing: frames accepted for sending that the operating system
   * has not taken yet (a write counts until it is complete). Incoming: messages not yet delivered, while the
   * connection is paused or iterated. Compressed messages are inflated one at a time; those still compressed
   * count with their compressed size.
   */
  readonly bufferedBytes: number

  /**
   * The messages dropped instead of sent, up to the last turn of the event loop. `onDrop` tells the reasons.
   */
  readonly dropped: Readonly<DropCount>

  /**
   * Sends a text message. Messages arrive in the order of the calls.
   * @returns `false` when the connection is not open, or when the message was dropped by the slow-consumer
   *   policy or as volatile
   * @throws {HubError} WSHUB_ERR_INVALID_PAYLOAD when `data` is not a string, or WSHUB_ERR_INVALID_OPTION
   */
  sendText(data: string, options?: SendOptions): boolean

  /**
   * Sends a binary message. The bytes are copied at once; the caller may reuse its buffer.
   * @returns `false` when the connection is not open, or when the message was dropped by the slow-consumer
   *   policy or as volatile
   * @throws {HubError} WSHUB_ERR_INVALID_PAYLOAD when `data` is not a Buffer, Uint8Array or ArrayBuffer, or
   *   WSHUB_ERR_INVALID_OPTION
   */
  sendBinary(data: BinaryPayload, options?: SendOptions): boolean

  /**
   * Sends a ping of at most 125 bytes. The hub also sends pings by itself: see `pingIntervalMs`.
   * @returns `false` when the connection is not open
   * @throws {HubError} WSHUB_ERR_CONTROL_TOO_LONG or WSHUB_ERR_INVALID_PAYLOAD
   */
  sendPing(data?: Payload): boolean

  /**
   * Sends an unsolicited pong of at most 125 bytes. The hub answers pings by itself.
   * @returns `false` when the connection is not open
   * @throws {HubError} WSHUB_ERR_CONTROL_TOO_LONG or WSHUB_ERR_INVALID_PAYLOAD
   * @see RFC 6455 §5.5.3
   */
  sendPong(data?: Payload): boolean

  /**
   * Stops reading from the client, which notices once the buffers in between are full. Messages that were
   * already read wait for {@link Connection.resume}. A paused connection never times out, since no answer to
   * a ping is read; it ends when a ping cannot be delivered.
   */
  pause(): void

  /** Resumes reading: the messages that wait are delivered first, then new ones. */
  resume(): void

  /**
   * Iterates over the messages from now on, in place of `onMessage`: `for await (const message of
   * connection)`. The client is read only as fast as the loop runs. The loop ends when the connection is
   * closed; leaving it early returns the remaining messages to `onMessage`. Starting it in `onOpen` marks
   * `onOpen` as settled.
   * @throws {HubError} WSHUB_ERR_ALREADY_ITERATED while another iteration is running
   */
  [Symbol.asyncIterator](): AsyncGenerator<Message, void, undefined>

  /**
   * Sets the time at which the credential expires; `undefined` = never. At that time `onExpire` may renew it;
   * otherwise the connection is closed with 4401.
   * @param at a Date, or ms since the epoch
   * @throws {HubError} WSHUB_ERR_INVALID_OPTION when it is neither
   */
  renew(at: Date | number | undefined): void

  /**
   * Starts the closing handshake, after everything sent before. From then on nothing is sent or delivered.
   * A client that does not answer within `closeTimeoutMs` is terminated.
   * @param code 1000 by default
   * @param reason at most 123 bytes of UTF-8, empty by default
   * @returns `false` when the connection was already closing or closed
   * @throws {HubError} WSHUB_ERR_INVALID_CLOSE when the code may not be sent or the reason is too long
   */
  close(code?: number, reason?: string): boolean

  /** Destroys the socket without a closing handshake: `onClose` gets 1006. */
  terminate(): void

  /** Returns whether this connection is in the room. */
  inRoom(room: string): boolean

  /** Does the same as `metadata.set`. */
  setMetadata<Key extends MetadataKey<Meta>>(key: Key, value: MetadataOf<Meta>[Key]): void

  /** Does the same as `metadata.get`. */
  getMetadata<Key extends MetadataKey<Meta>>(key: Key): MetadataOf<Meta>[Key] | undefined

  /**
   * Returns what a log may show of this connection: no metadata, which may be secret, and at most ten of its
   * rooms.
   */
  toJSON(): ConnectionSummary
}
