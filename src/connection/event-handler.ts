import { didYouMean, HubError, show } from '../base/errors.ts'
import type { Metadata } from '../base/metadata.ts'
import type { Dropped } from '../delivery/drop-count.ts'
import type { Message } from '../protocol/message.ts'
import type { CloseCause } from './close-cause.ts'
import type { Connection } from './connection.ts'

/**
 * What an application does with a connection. Every callback is optional and may be async. One that throws or rejects is
 * reported to `onError` and ends its connection with 1011; it never takes the process down.
 */
export interface EventHandler<Meta extends object = Metadata> {
  /** The connection is open. Messages wait, in order, until this has settled, at most `openTimeoutMs`. */
  onOpen?(connection: Connection<Meta>): unknown
  /** A whole message has come. The next one does not wait for a promise returned here. */
  onMessage?(connection: Connection<Meta>, message: Message): unknown
  /**
   * The connection is closed; called exactly once. `code` is what the client sent, 1005 when its close frame had none; what was
   * sent to it when it sent none; 1006 when there was no close frame. `reason` is the text in that frame, or says why there was
   * none. `cause` says who ended the connection, and why. `connection.rooms` still has the rooms it was in; the rooms no
   * longer have it.
   */
  onClose?(connection: Connection<Meta>, code: number, reason: string, cause: CloseCause): unknown
  /** Something went wrong with this connection: a callback threw, or the client broke the protocol. */
  onError?(connection: Connection<Meta>, error: Error): unknown
  /**
   * Messages for this connection were dropped: by the slow-consumer policy, as `volatile`, or because it is closed. Called at the
   * end of a turn of the event loop, once for each reason.
   */
  onDrop?(connection: Connection<Meta>, dropped: Dropped): unknown
  /**
   * `connection.expiresAt` has passed. What does not `renew` it, in here or before a promise returned here settles (at most `openTimeoutMs`; 10 s where
   * that is 0), is closed with 4401. Messages wait meanwhile.
   */
  onExpire?(connection: Connection<Meta>): unknown
  /** A ping has come; it has been answered. */
  onPing?(connection: Connection<Meta>, payload: Buffer): unknown
  /** A pong has come. */
  onPong?(connection: Connection<Meta>, payload: Buffer): unknown
}

const CALLBACKS = [
  'onOpen',
  'onMessage',
  'onClose',
  'onError',
  'onDrop',
  'onExpire',
  'onPing',
  'onPong',
] as const

/** Names of the callbacks. */
export type CallbackName = (typeof CALLBACKS)[number]

/** @throws {HubError} WSHUB_ERR_INVALID_HANDLER when it is not an object, or has a callback that is not a function */
export function checkHandler(handler: unknown): asserts handler is EventHandler {
  if (typeof handler !== 'object' || handler === null || Array.isArray(handler)) {
    throw new HubError(
      'WSHUB_ERR_INVALID_HANDLER',
      `a handler is an object of callbacks, not ${show(handler)}`,
    )
  }
  checkNames(handler)
  const callbacks = handler as Readonly<Record<string, unknown>> // its keys are about to be looked at one by one
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
 * Refuses names that are no callbacks. An object is a handler and nothing else, so it has no other keys. An instance of a class, or a module,
 * may have any members of its own: only a callback in other letters, like `onmessage`, is refused there.
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
    `${show(key)} is no callback of a handler${didYouMean(key, CALLBACKS)}`,
  )
}
