import type { Backplane } from '../backplane/backplane.ts'
import type { Metadata } from '../base/metadata.ts'
import { checkKeys, integersOf, invalid, orDefault, type Resolved, strings } from '../base/option-rules.ts'
import {
  type ClusterOptions,
  type ResolvedClusterOptions,
  resolveClusterOptions,
} from '../cluster/cluster-options.ts'
import { type CallbackContext, checkCallbackContext } from '../connection/callback-context.ts'
import type { Connection } from '../connection/connection.ts'
import { type HeartbeatOptions, readHeartbeat } from '../connection/heartbeat.ts'
import {
  type CompressionOptions,
  type CompressionSettings,
  readCompression,
  readSlowConsumer,
  type SlowConsumerPolicy,
} from '../delivery/delivery-options.ts'
import {
  type HistoryOptions,
  type ResolvedHistoryOptions,
  resolveHistoryOptions,
} from '../history/history-options.ts'
import {
  type PresenceOptions,
  type ResolvedPresenceOptions,
  resolvePresenceOptions,
} from '../presence/presence-options.ts'
import type { ProxyHeader, TrustProxy } from '../upgrade/client-address.ts'
import { type LimitOptions, type ResolvedLimits, readLimits } from './limit-options.ts'

/** The options of a {@link Hub}. Every key is optional; an explicit `undefined` means the default. */
export interface HubOptions<Meta extends object = Metadata> {
  /** The most connections at once, 1 or more; a further upgrade is answered with 503. Default 10 000. */
  maxConnections?: number | undefined
  /**
   * The most bytes of an incoming message, after inflation, 1 to 2 147 483 647; a longer one ends its
   * connection with 1009. Default 65 536.
   */
  maxMessageSize?: number | undefined
  /** Silence, in ms, after which a client gets a ping; 0 = never. Default 30 000. */
  pingIntervalMs?: number | undefined
  /**
   * Time, in ms, for a client to send anything after a ping, before its connection ends with 1006; 1 or more.
   * Default 10 000.
   */
  pongTimeoutMs?: number | undefined
  /**
   * Sends an empty text message to each client that was sent no message for `everyMs`. A page, which sees no
   * pings, can then detect a dead connection. `wshub/client` hides these messages; other clients must ignore
   * them. `undefined` = none.
   */
  heartbeat?: HeartbeatOptions | undefined
  /**
   * Negotiates permessage-deflate with clients that offer it: `true`, or settings. A message is compressed
   * once. Default false.
   */
  enableCompression?: boolean | CompressionOptions | undefined
  /**
   * Origins of pages that may connect besides the site's own origin: `https://app.example.com`,
   * `https://*.example.com`, `null` (sandboxed and file pages), `*` (all). `[]` = only the site's own origin.
   * Default `[]`.
   */
  allowedOrigins?: readonly string[] | undefined
  /**
   * Hosts that belong to the application: `app.example.com`, `*.example.com`, `localhost:8080`; without a
   * port, any port. An upgrade with another `Host` is answered with 403, which stops DNS rebinding. `[]` =
   * all. Default `[]`.
   */
  allowedHosts?: readonly string[] | undefined
  /** Subprotocols that the application supports, the preferred first; `[]` = none is chosen. Default `[]`. */
  protocols?: readonly string[] | undefined
  /**
   * Receives every error that no handler's `onError` receives. Without it, each becomes a process warning;
   * for errors that clients can repeat at will, only the first of each kind.
   */
  onError?: ((error: Error, connection?: Connection) => void) | undefined
  /**
   * The most bytes that may wait for one slow client, 1 or more; then `slowConsumer` decides. Default 1 048
   * 576.
   */
  maxBufferedBytes?: number | undefined
  /**
   * The most bytes that may wait for all slow clients together, 1 or more; a message counts once, however
   * many clients it waits for. Above it, the clients with the most waiting are closed with 1013, under every
   * `slowConsumer`. Default 134 217 728.
   */
  maxTotalBufferedBytes?: number | undefined
  /**
   * The policy above `maxBufferedBytes`: `close` (1013), `dropNewest`, `dropOldest`, `conflate`, which keeps
   * the latest message of each `key` for a slow client, or `resync`, which drops messages of rooms with a
   * history and replays them when the client reads again; both close it if that is not enough. Default
   * `close`.
   */
  slowConsumer?: SlowConsumerPolicy | undefined
  /**
   * Time, in ms, for which messages to a client wait for others, 0 to 1 000: all of them leave in one write,
   * at most that long and one turn of the event loop after the first. Saves CPU time where messages come one
   * by one. Those with the option `urgent` do not wait. 0 = until the end of the turn. Default 0.
   */
  writeDelayMs?: number | undefined
  /** Time, in ms, for an async `onOpen`, while the client's messages wait; 0 = no limit. Default 10 000. */
  openTimeoutMs?: number | undefined
  /**
   * Time, in ms, from the moment either side begins to close a connection until its socket is destroyed; 1 or
   * more. Default 10 000.
   */
  closeTimeoutMs?: number | undefined
  /** Limits of one client; see {@link LimitOptions}. Default {}. */
  limits?: LimitOptions | undefined
  /**
   * The proxies that may name the client's address: `true` (all), the number of proxies in front, addresses
   * and networks, or a function. `false` = none; an adapter then uses its framework's own setting. Default
   * false.
   */
  trustProxy?: TrustProxy | undefined
  /** The header in which they name it: `x-forwarded-for` or `forwarded`. Default `x-forwarded-for`. */
  proxyHeader?: ProxyHeader | undefined
  /**
   * The async context of the callbacks of a connection: `true` = that of the route which upgraded it, so that
   * each `AsyncLocalStorage` has its store there; a function returns what calls them, such as
   * `tracedCallbacks` of `wshub/opentelemetry`. Default false.
   */
  callbackContext?: boolean | CallbackContext | undefined
  /**
   * Carries messages to the hubs of other processes, and back. It belongs to this hub, which also closes it.
   */
  backplane?: Backplane | undefined
  /** The way this hub works together with those of other processes. */
  cluster?: ClusterOptions | undefined
  /** Rooms that keep their latest messages, for clients that come back; see {@link HistoryOptions}. */
  history?: HistoryOptions | undefined
  /** Rooms of which every node knows who is there, by user; see {@link PresenceOptions}. */
  presence?: PresenceOptions<Connection<Meta>> | undefined
}

/** {@link HubOptions} with every default in place, frozen; see `hub.options`. */
export interface ResolvedHubOptions
  extends Resolved<
    Omit<HubOptions, 'heartbeat' | 'enableCompression' | 'limits' | 'cluster' | 'history' | 'presence'>,
    'onError' | 'backplane'
  > {
  readonly heartbeat: Readonly<HeartbeatOptions> | undefined
  readonly enableCompression: CompressionSettings | false
  readonly limits: ResolvedLimits
  readonly cluster: ResolvedClusterOptions
  readonly history: ResolvedHistoryOptions | undefined
  readonly presence: ResolvedPresenceOptions | undefined
}

/** The defaults of {@link HubOptions}; a test compares the table of `docs/options.md` with them. */
export const HUB_DEFAULTS = Object.freeze({
  maxConnections: 10_000,
  maxMessageSize: 65_536,
  pingIntervalMs: 30_000,
  pongTimeoutMs: 10_000,
  heartbeat: undefined,
  enableCompression: false,
  allowedOrigins: Object.freeze([]) as readonly string[], // an empty array is inferred as never[]
  allowedHosts: Object.freeze([]) as readonly string[], // likewise
  protocols: Object.freeze([]) as readonly string[], // likewise
  onError: undefined,
  maxBufferedBytes: 1_048_576,
  maxTotalBufferedBytes: 134_217_728,
  slowConsumer: 'close',
  writeDelayMs: 0,
  openTimeoutMs: 10_000,
  closeTimeoutMs: 10_000,
  limits: Object.freeze({}),
  trustProxy: false,
  proxyHeader: 'x-forwarded-for',
  callbackContext: false,
  backplane: undefined,
  cluster: undefined,
  history: undefined,
  presence: undefined,
})

/** An RFC 7230 token, the form of a subprotocol's name. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

/**
 * Reads options into their final, frozen form.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION naming the key, the rule and the value, also for an unknown key
 */
export function resolveHubOptions<Meta extends object>(options: HubOptions<Meta> = {}): ResolvedHubOptions {
  if (typeof options !== 'object' || options === null) throw invalid('options', 'are an object', options)
  checkKeys(options, HUB_DEFAULTS, 'an option of a hub')
  const allowedOrigins = strings(
    'allowedOrigins',
    orDefault(options.allowedOrigins, HUB_DEFAULTS.allowedOrigins),
  )
  const allowedHosts = strings('allowedHosts', orDefault(options.allowedHosts, HUB_DEFAULTS.allowedHosts))
  const protocols = strings('protocols', orDefault(options.protocols, HUB_DEFAULTS.protocols))
  for (const protocol of protocols) {
    if (!TOKEN.test(protocol)) throw invalid('protocols', 'names subprotocols, which are tokens', protocol)
  }
  const { onError, enableCompression = HUB_DEFAULTS.enableCompression } = options
  if (onError !== undefined && typeof onError !== 'function') {
    throw invalid('onError', 'is a function', onError)
  }
  const slowConsumer = readSlowConsumer(orDefault(options.slowConsumer, HUB_DEFAULTS.slowConsumer))
  if (slowConsumer === 'resync' && options.history === undefined) {
    throw invalid('slowConsumer', 'needs the option history where it is resync', slowConsumer)
  }
  const trustProxy = orDefault(options.trustProxy, HUB_DEFAULTS.trustProxy)
  const proxyHeader = orDefault(options.proxyHeader, HUB_DEFAULTS.proxyHeader)
  if (!isTrustProxy(trustProxy)) {
    throw invalid('trustProxy', 'is true, false, a number of hops, addresses or a function', trustProxy)
  }
  if (proxyHeader !== 'x-forwarded-for' && proxyHeader !== 'forwarded') {
    throw invalid('proxyHeader', 'is x-forwarded-for or forwarded', proxyHeader)
  }
  const callbackContext = orDefault(options.callbackContext, HUB_DEFAULTS.callbackContext)
  checkCallbackContext(callbackContext)
  const integer = integersOf(options, HUB_DEFAULTS)
  const maxMessageSize = integer('maxMessageSize', 1)
  const { backplane } = options
  if (backplane !== undefined) checkBackplane(backplane)
  const cluster = resolveClusterOptions(options.cluster)
  return Object.freeze({
    maxConnections: integer('maxConnections', 1),
    maxMessageSize,
    pingIntervalMs: integer('pingIntervalMs', 0),
    pongTimeoutMs: integer('pongTimeoutMs', 1),
    heartbeat: readHeartbeat(options.heartbeat),
    enableCompression: readCompression(enableCompression),
    allowedOrigins,
    allowedHosts,
    protocols,
    onError,
    maxBufferedBytes: integer('maxBufferedBytes', 1),
    maxTotalBufferedBytes: integer('maxTotalBufferedBytes', 1),
    slowConsumer,
    writeDelayMs: integer('writeDelayMs', 0, 1_000),
    openTimeoutMs: integer('openTimeoutMs', 0),
    closeTimeoutMs: integer('closeTimeoutMs', 1),
    limits: readLimits(options.limits, maxMessageSize),
    trustProxy: Array.isArray(trustProxy) ? Object.freeze([...trustProxy]) : trustProxy,
    proxyHeader,
    callbackContext,
    backplane,
    cluster,
    presence: resolvePresenceOptions(options.presence, cluster.maxEnvelopeBytes),
    history: resolveHistoryOptions(options.history, backplane !== undefined),
  })
}

function isTrustProxy(value: TrustProxy): boolean {
  if (typeof value === 'number') return Number.isInteger(value) && value >= 0
  if (Array.isArray(value)) return [...value].every((item) => typeof item === 'string')
  return ['boolean', 'string', 'function'].includes(typeof value)
}

const BACKPLANE_METHODS = ['start', 'publish', 'subscribe', 'unsubscribe', 'close'] as const

function checkBackplane(backplane: Backplane): void {
  const isComplete =
    typeof backplane === 'object' &&
    backplane !== null &&
    BACKPLANE_METHODS.every((name) => typeof backplane[name] === 'function')
  if (!isComplete) {
    throw invalid('backplane', `is an object with ${BACKPLANE_METHODS.join(', ')}`, backplane)
  }
}

/** Backplanes that have a hub. */
const claimed = new WeakSet<Backplane>()

/**
 * Assigns a backplane to one hub: a second hub would receive nothing from it, and close it for the first.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION when it already has a hub
 */
export function claimBackplane(backplane: Backplane | undefined): void {
  if (backplane === undefined) return
  if (claimed.has(backplane)) throw invalid('backplane', 'belongs to one hub: create one for each', backplane)
  claimed.add(backplane)
}
