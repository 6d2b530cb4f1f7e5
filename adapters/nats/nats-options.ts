import type { NatsConnection, NodeConnectionOptions } from '@nats-io/transport-node'
import { invalidOption, refuseUnknown } from '../backplane/backplane-options.ts'

/** The way to NATS: a connection of the application, or options for connections of our own. */
export type NatsSource =
  | { readonly connection: NatsConnection }
  | (NodeConnectionOptions & { connection?: undefined })

/** The options of `connect` of NATS. An option that a later version adds has to be named here as well. */
const CONNECTION_OPTIONS: Record<keyof NodeConnectionOptions, true> = {
  authenticator: true,
  debug: true,
  ignoreAuthErrorAbort: true,
  ignoreClusterUpdates: true,
  inboxPrefix: true,
  maxPingOut: true,
  maxReconnectAttempts: true,
  name: true,
  noAsyncTraces: true,
  noEcho: true,
  noRandomize: true,
  pass: true,
  pedantic: true,
  pingInterval: true,
  port: true,
  reconnect: true,
  reconnectDelayHandler: true,
  reconnectJitter: true,
  reconnectJitterTLS: true,
  reconnectTimeWait: true,
  reconnectToServer: true,
  resolve: true,
  servers: true,
  timeout: true,
  tls: true,
  token: true,
  user: true,
  verbose: true,
  waitOnFirstConnect: true,
}

const DEFAULT_PORT = 4222

/**
 * Checks options that extend a {@link NatsSource}.
 * @param own the keys that are not of the source
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION
 */
export function checkNatsOptions(options: NatsSource, own: readonly string[]): void {
  const ofConnect = options?.connection === undefined ? Object.keys(CONNECTION_OPTIONS) : []
  refuseUnknown(options, ['connection', ...own, ...ofConnect])
  if (options.connection === undefined) readServers(options)
}

/** Returns the servers as a text for errors, without the credentials that a URL may have. */
export function describeServers(options: NodeConnectionOptions): string {
  return readServers(options)
    .map((server) => server.replace(/^.*@/, ''))
    .join(', ')
}

function readServers({ servers, port = DEFAULT_PORT }: NodeConnectionOptions): string[] {
  const list = servers === undefined ? [`127.0.0.1:${port}`] : [servers].flat()
  if (list.length > 0 && list.every((server) => typeof server === 'string' && server !== '')) return list
  throw invalidOption('servers must be host[:port], or an array of at least one')
}
