import type { IncomingMessage } from 'node:http'
import { type Connection, HubError } from 'wshub'

/** The permissions of one operator, each apart. What is not `true` is not permitted. */
export interface Permissions {
  /** Sees the page: nodes, rooms, clients, ends, refusals, gaps. */
  readonly view?: boolean | undefined
  /** Sends a text message to a room. */
  readonly send?: boolean | undefined
  /** Disconnects a client. */
  readonly disconnect?: boolean | undefined
}

/** Options of an inspector. */
export interface InspectorOptions {
  /**
   * Returns what the sender of a request may do: `true` permits to view, and nothing else. Called for the
   * page and again for its WebSocket. Without this option, every request is answered with 403.
   * @param exchange the request as the framework has it: `req` of Express, `request` of Fastify, `ctx` of Koa
   */
  authorize?:
    | ((
        request: IncomingMessage,
        exchange: unknown,
      ) => boolean | Permissions | Promise<boolean | Permissions>)
    | undefined
  /** Returns the metadata of a connection that the page may show. Default: none. */
  metadata?: ((connection: Connection<object>) => unknown) | undefined
}

const KNOWN: Record<keyof InspectorOptions, undefined> = { authorize: undefined, metadata: undefined }

/** @throws {HubError} WSHUB_ERR_INVALID_OPTION */
export function checkOptions(options: InspectorOptions): void {
  for (const key of Object.keys(options)) {
    if (!Object.hasOwn(KNOWN, key)) {
      throw HubError.unknownKey(key, Object.keys(KNOWN), 'an option of inspector')
    }
  }
  for (const [key, value] of Object.entries(options)) {
    if (value === undefined || typeof value === 'function') continue
    throw new HubError('WSHUB_ERR_INVALID_OPTION', `${key} is a function, not ${typeof value}`)
  }
}

/** Reads the answer of `authorize`: anything but `true` permits nothing. */
export function readPermissions(answer: unknown): Required<{ [Key in keyof Permissions]: boolean }> {
  const given: { readonly [Key in keyof Permissions]?: unknown } =
    answer === true ? { view: true } : typeof answer === 'object' && answer !== null ? answer : {}
  const view = given.view === true
  return { view, send: view && given.send === true, disconnect: view && given.disconnect === true }
}
