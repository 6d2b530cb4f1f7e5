import { didYouMean, HubError, show } from '../base/errors.ts'
import type { Metadata } from '../base/metadata.ts'
import type { Dropped } from '../delivery/drop-count.ts'
import type { Message } from '../protocol/message.ts'
import type { CloseCause } from './close-cause.ts'
import type { Connection } from './connection.ts'

/**
 * The callbacks of an application for a connection. All are optional and may be async. When one throws or
 * rejects, the error goes to `onError` and the connection is closed with 1011; the process never goes down.
 */
export interface EventHandler<Meta extends object = Metadata> {
  /** The connection is open. Messages wait, in order, until this has settled, for at most `openTimeoutMs`. */
  onOpen?(connection: Connection<Meta>): unknown
  /** A whole message has arrived. The next one does not wait for a promise returned here. */
  onMessage?(connection: Connection<Meta>, message: Message): unknown
  /**
   * The connection is closed; called exactly once. `code` is that of the client's close frame (1005 when the
   * frame had none); without such a frame, that of the close frame sent to the client; without either, 1006.
   * `reason` is the text of that frame, or says why there was none. `cause` says who ended the connection,
   * and why. `connection.rooms` still has the rooms it was in, but it no longer receives their messages.
   */
  onClose?(connection: Connection<Meta>, code: number, reason: string, cause: CloseCause): unknown
  /** Something went wrong with this connection: a callback threw, or the client violated the protocol. */
  onError?(connection: Connection<Meta>, error: Error): unknown
  /**
   * Messages for this connection were dropped: by the slow-consumer policy, as `volatile`, or because it was
   * closed. Called at the end of a turn of the event loop, once for each reason.
   */
  onDrop?(connection: Connection<Meta>, dropped: Dropped): unknown
  /**
   * Messages of a room with a history were lost for this connection and cannot be replayed, because the store
   * has lost them too or does not keep them any more. Called before any message that comes after them, also
   * during `resumeRoom`. The connection receives live: send it a snapshot.
   */
  onBehind?(connection: Connection<Meta>, room: string): unknown
  /**
   * `expiresAt` has passed. Call `renew` here, or before the returned promise settles, or the connection is
   * closed with 4401. The promise may take `openTimeoutMs` (10 s if that is 0); messages wait meanwhile.
   */
  onExpire?(connection: Connection<Meta>): unknown
  /** A ping has arrived, and was answered. */
  onPing?(connection: Connection<Meta>, payload: Buffer): unknown
  /** A pong has arrived. */
  onPong?(connection: Connection<Meta>, payload: Buffer): unknown
}

/** The names of all callbacks. */
export const CALLBACKS = [
  'onOpen',
  'onMessage',
  'onClose',
  'onError',
  'onDrop',
  'onBehind',
  'onExpire',
  'onPing',
  'onPong',
] as const

/** The name of a callback. */
export type CallbackName = (typeof CALLBACKS)[number]

/**
 * Checks a handler.
 * @throws {HubError} WSHUB_ERR_INVALID_HANDLER when it is no object, or a callback is no function
 */
export function checkHandler(handler: unknown): asserts handler is EventHandler {
  if (typeof handler !== 'object' || handler === null || Array.isArray(handler)) {
    throw new HubError(
      'WSHUB_ERR_INVALID_HANDLER',
      `a handler is an object of callbacks, not ${show(handler)}`,
    )
  }
  checkNames(handler)
  const callbacks = handler as Readonly<Record<string, unknown>> // each property is checked below
  for (const name of CALLBACKS) {
    const callback = callbacks[name]
    if (callback !== undefined && typeof callback !== 'function') {
      throw new HubError(
        'WSHUB_ERR_INVALID_HANDLER',
        `the handler's ${name} is a function, not ${show(callback)}`,
      )
    }
  }
}

const BY_LOWER_CASE: ReadonlyMap<string, CallbackName> = new Map(
  CALLBACKS.map((name) => [name.toLowerCase(), name]),
)

/**
 * Refuses names that are not callbacks. An object is only a handler, so it has no other keys. An instance of
 * a class, or a module, may have any members of its own: there only a callback in other case, like
 * `onmessage`, is refused.
 */
function checkNames(handler: object): void {
  if (Object.getPrototypeOf(handler) === Object.prototype) {
    for (const key of Object.keys(handler)) if (!(CALLBACKS as readonly string[]).includes(key)) refuse(key)
    return
  }
  for (
    let owner = handler;
    owner !== null && owner !== Object.prototype;
    owner = Object.getPrototypeOf(owner)
  ) {
    for (const name of Object.getOwnPropertyNames(owner)) {
      if ((BY_LOWER_CASE.get(name.toLowerCase()) ?? name) !== name) refuse(name)
    }
  }
}

function refuse(key: string): never {
  throw new HubError(
    'WSHUB_ERR_INVALID_HANDLER',
    `${show(key)} is not a callback of a handler${didYouMean(key, CALLBACKS)}`,
  )
}
