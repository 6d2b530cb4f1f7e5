import type { ReconnectingSocket, SocketLike } from './reconnecting-socket.ts'

/** The position of a client in a room. */
export interface RoomPosition {
  readonly room: string
  /** The position in a message, as the hub's `stamp` wrote it. */
  readonly position: string
}

/** How to connect. Every key is optional; an explicit `undefined` means the default. */
export interface ConnectOptions {
  /** Subprotocols to offer, the preferred first. Default none. */
  protocols?: string | readonly string[] | undefined
  /**
   * Returns the bearer token. Called before each attempt: a page cannot see that its token was
   * refused. It is sent as the subprotocol `bearer.<token>`, which `Handshake.bearerToken` reads, so
   * `protocols` must name another one that the hub speaks. If it throws or rejects, the attempt has failed.
   */
  token?: (() => string | Promise<string>) | undefined
  /** Least time, in ms, before another attempt. Default 1 000. */
  minDelayMs?: number | undefined
  /** Longest time, in ms, before another attempt, unless the server asks for more. Default 30 000. */
  maxDelayMs?: number | undefined
  /** Time, in ms, for an attempt to open, `token` included. Default 10 000. */
  openTimeoutMs?: number | undefined
  /**
   * Time, in ms, without a message after which the connection counts as dead: somewhat more than `everyMs` of
   * the hub's `heartbeat`. 0 = never. Default 0.
   */
  heartbeatTimeoutMs?: number | undefined
  /** Most messages that wait for a connection; for one more `send` throws. 0 = none waits. Default 100. */
  maxQueuedMessages?: number | undefined
  /** Most bytes of messages that wait for a connection; above it `send` throws. Default 1 048 576. */
  maxQueuedBytes?: number | undefined
  /**
   * Returns the room and the position in a message; `undefined` or `null` if there is none. The latest
   * position of each room is remembered, for at most 1 000 rooms, those with the newest messages. An error
   * that it throws becomes an `error` event.
   */
  positionOf?: ((data: unknown, event: MessageEvent) => RoomPosition | null | undefined) | undefined
  /**
   * Called when a connection is open again, before the `open` event and before queued messages are sent, with
   * the latest position of each room: join rooms and ask for missed messages here. If it throws or rejects,
   * that becomes an `error` event, and the connection stays open.
   */
  onReconnect?: ((socket: ReconnectingSocket, positions: ReadonlyMap<string, string>) => unknown) | undefined
  /** The WebSocket to use, for a runtime without one: `ws` on Node 20. Default the global one. */
  WebSocket?: (new (url: string | URL, protocols: string[]) => SocketLike) | undefined
}

/** The defaults of the numbers among {@link ConnectOptions}. */
export const CONNECT_DEFAULTS = {
  minDelayMs: 1_000,
  maxDelayMs: 30_000,
  openTimeoutMs: 10_000,
  heartbeatTimeoutMs: 0,
  maxQueuedMessages: 100,
  maxQueuedBytes: 1_048_576,
}

/** Options that are no number. Values here only name the keys. */
const OTHERS = { protocols: 0, token: 0, positionOf: 0, onReconnect: 0, WebSocket: 0 }
const FUNCTIONS = ['token', 'positionOf', 'onReconnect', 'WebSocket'] as const

/** The largest number: with all that is added to it, a timer still takes it. */
const MOST = 1_000_000_000

/** {@link ConnectOptions} with every default in place. */
export type ResolvedConnectOptions = ConnectOptions & {
  readonly [Key in keyof typeof CONNECT_DEFAULTS]: number
} & { readonly protocols: readonly string[]; readonly WebSocket: NonNullable<ConnectOptions['WebSocket']> }

/** @throws {TypeError} for an unknown key, a number out of its range, or when there is no WebSocket */
export function resolveConnectOptions(options: ConnectOptions): ResolvedConnectOptions {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(`options is an object, not ${show(options)}`)
  }
  for (const key of Object.keys(options)) {
    if (!(Object.hasOwn(CONNECT_DEFAULTS, key) || Object.hasOwn(OTHERS, key)))
      throw new TypeError(`"${key}" is not an option of connect`)
  }
  const numbers = { ...CONNECT_DEFAULTS }
  for (const key of Object.keys(numbers) as (keyof typeof numbers)[]) {
    // Object.keys forgets the key type
    const { [key]: value = numbers[key] } = options
    const least = { minDelayMs: 1, maxDelayMs: numbers.minDelayMs, openTimeoutMs: 1 }[key as string] ?? 0
    if (!(Number.isInteger(value) && value >= least && value <= MOST)) {
      throw new TypeError(`${key} is an integer from ${least} to ${MOST}, not ${show(value)}`)
    }
    numbers[key] = value
  }
  for (const key of FUNCTIONS) {
    const value: unknown = options[key]
    if (value !== undefined && typeof value !== 'function') {
      throw new TypeError(`${key} is a function, not ${show(value)}`)
    }
  }
  const protocols = [options.protocols ?? []].flat()
  if (options.token !== undefined && protocols.length === 0) {
    throw new TypeError('token needs a subprotocol beside it: set protocols')
  }
  // Neither the types of a page nor those of a newer Node are known here.
  const { WebSocket } = globalThis as Pick<ConnectOptions, 'WebSocket'>
  const resolved = options.WebSocket ?? WebSocket
  if (resolved === undefined) throw new TypeError('this runtime has no WebSocket: set the option WebSocket')
  return { ...options, ...numbers, protocols, WebSocket: resolved }
}

/** Never throws: an object may have no text. */
function show(value: unknown): string {
  if (typeof value === 'function') return 'a function'
  return typeof value === 'object' && value !== null ? 'an object' : String(value)
}
