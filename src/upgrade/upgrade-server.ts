import type { EventEmitter } from 'node:events'
import type { Server as HttpServer } from 'node:http'
import type { Http2SecureServer, Http2Server } from 'node:http2'
import type { Server as HttpsServer } from 'node:https'
import { HubError, show } from '../base/errors.ts'

/** A server of `node:http2`; a secure one may serve HTTP/1.1 as well. */
export type Http2UpgradeServer = Http2Server | Http2SecureServer

/** A server of `node:http`, `node:https` or `node:http2`, with any framework. */
export type UpgradeServer = HttpServer | HttpsServer | Http2UpgradeServer

/** The methods of a server that are called. They are checked instead of `instanceof`. */
const METHODS = [
  'on',
  'off',
  'once',
  'prependListener',
  'listeners',
  'listenerCount',
  'emit',
  'setTimeout',
] as const

/** @throws {HubError} WSHUB_ERR_INVALID_OPTION for anything but a server, such as an application */
export function checkServer(server: UpgradeServer): void {
  const given: unknown = server
  if (typeof given === 'object' && given !== null && typeof server.listening === 'boolean') {
    if (METHODS.every((name) => typeof server[name] === 'function')) return
  }
  throw new HubError(
    'WSHUB_ERR_INVALID_OPTION',
    `attach takes a server of node:http, node:https or node:http2, not ${show(given)}: pass the server, not` +
      ' the app (the server that createServer(app) or app.listen() returns, or app.server of Fastify)',
  )
}

/** Returns whether a server is one of `node:http2`, which exports no class of it. */
export function isHttp2(server: object): server is Http2UpgradeServer {
  return 'updateSettings' in server
}

/** Returns whether a server has listeners of an event other than the given one. */
export function hasOtherListeners(server: EventEmitter, event: string, own: unknown): boolean {
  const count = server.listenerCount(event)
  return count > 1 || (count === 1 && server.listeners(event)[0] !== own)
}
