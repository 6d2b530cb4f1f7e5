import type { IncomingMessage } from 'node:http'
import type { Connection } from 'wshub'
import { checkFunctions, checkOptions } from '../arguments.ts'

/** The permissions of one operator, each apart. What is not `true` is not permitted. */
export interface Permissions {
  /** Sees the page: nodes, rooms, clients, ends, refusals, gaps, and the sizes of messages. */
  readonly view?: boolean | undefined
  /** Sees the content of messages of a room or client that the operator follows. */
  readonly payloads?: boolean | undefined
  /** Sends a text message to a room. */
  readonly send?: boolean | undefined
  /** Disconnects a client. */
  readonly disconnect?: boolean | undefined
}

/** {@link Permissions} that were read. */
export type Permitted = Readonly<Record<keyof Permissions, boolean>>

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
  /** Returns, and not as a promise, the metadata of a connection that the page may show and search. */
  metadata?: ((connection: Connection<object>) => unknown) | undefined
}

const KEYS: readonly (keyof InspectorOptions)[] = ['authorize', 'metadata']

/** @throws {HubError} WSHUB_ERR_INVALID_OPTION */
export function checkInspectorOptions(options: InspectorOptions): void {
  checkOptions(options, KEYS, 'inspector')
  checkFunctions(options)
}

/** Reads the answer of `authorize`: anything but `true` permits nothing. */
export function readPermissions(answer: unknown): Permitted {
  const given: { readonly [Key in keyof Permissions]?: unknown } =
    answer === true ? { view: true } : typeof answer === 'object' && answer !== null ? answer : {}
  const { view, payloads, send, disconnect } = given
  const isViewer = view === true
  return {
    view: isViewer,
    payloads: isViewer && payloads === true,
    send: isViewer && send === true,
    disconnect: isViewer && disconnect === true,
  }
}
