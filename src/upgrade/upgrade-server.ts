import type { Server as HttpServer } from 'node:http'
import type { Server as HttpsServer } from 'node:https'
import { HubError, show } from '../base/errors.ts'

/** A server that emits upgrades: of `node:http` or `node:https`, with any framework. */
export type UpgradeServer = HttpServer | HttpsServer

/**
 * The methods of a server that are called. They are checked instead of `instanceof`, since the secure server
 * of `node:http2` serves HTTP/1 as well.
 */
const METHODS = ['on', 'off', 'once', 'prependListener', 'listeners', 'emit', 'setTimeout'] as const

/** @throws {HubError} WSHUB_ERR_INVALID_OPTION for anything but a server, such as an application */
export function checkServer(server: UpgradeServer): void {
  const given: unknown = server
  if (typeof given === 'object' && given !== null && typeof server.listening === 'boolean') {
    if (METHODS.every((name) => typeof server[name] === 'function') && !isHttp2Alone(server)) return
  }
  throw new HubError(
    'WSHUB_ERR_INVALID_OPTION',
    `attach takes a server of node:http or node:https, not ${show(given)}: pass the server, not the app` +
      ' (the server that createServer(app) or app.listen() returns, or app.server of Fastify)',
  )
}

/** Returns whether a server is one of `node:http2` that does not serve HTTP/1: it emits no upgrades. */
function isHttp2Alone(server: UpgradeServer): boolean {
  return 'updateSettings' in server && server.headersTimeout === undefined
}
