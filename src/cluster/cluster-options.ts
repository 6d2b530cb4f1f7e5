import { checkKeys, integersOf, invalid, orDefault, type Resolved, strings } from '../base/option-rules.ts'
import type { Gap } from './gaps.ts'

/** Settings of a hub's cluster. Every key is optional; an explicit `undefined` means the default. */
export interface ClusterOptions {
  /**
   * Separates applications that share an engine: hubs of one namespace form a cluster. Not empty. Default
   * wshub.
   */
  namespace?: string | undefined
  /** Time, in ms, between two heartbeats of a node; 1 or more. Default 5 000. */
  heartbeatIntervalMs?: number | undefined
  /**
   * Silence, in ms, after which a node is declared dead; 1 or more, and not below `heartbeatIntervalMs`.
   * Until then calls wait for its answer, and name it as missing when there is none. Default 15 000.
   */
  heartbeatTimeoutMs?: number | undefined
  /**
   * Time, in ms, for the other nodes to answer a call without a `timeoutMs` of its own; 1 or more. A call of
   * another node that arrives before messages which were published before it waits for them, for half of this
   * time. Default 2 000.
   */
  callTimeoutMs?: number | undefined
  /**
   * Most calls that wait for answers at once, and most that are being answered at once; 1 or more.
   * Default 1 000.
   */
  maxPendingCalls?: number | undefined
  /**
   * Most bytes of one message between nodes, 1 024 or more; a longer one reaches only this node's
   * connections. Default 1 048 576.
   */
  maxEnvelopeBytes?: number | undefined
  /**
   * Most bytes of messages that wait until this node reaches the cluster for the first time; 0 = none. A
   * message beyond that reaches only this node's connections, and is reported. Default 8 388 608.
   */
  maxEarlyBytes?: number | undefined
  /** Time, in ms, that a room's subscription outlasts its last member; 0 = none. Default 5 000. */
  roomGraceMs?: number | undefined
  /**
   * Keys of the metadata that other nodes see in `members` and `connections`, as JSON carries it; `[]` =
   * none. Default `[]`.
   */
  publicMetadata?: readonly string[] | undefined
  /** Called when messages of another node did not arrive. */
  onGap?: ((gap: Gap) => void) | undefined
}

/** {@link ClusterOptions} with every default in place. */
export type ResolvedClusterOptions = Resolved<ClusterOptions, 'onGap'>

/** The defaults of {@link ClusterOptions}; a test compares the table of `docs/cluster.md` with them. */
export const CLUSTER_DEFAULTS = Object.freeze({
  namespace: 'wshub',
  heartbeatIntervalMs: 5_000,
  heartbeatTimeoutMs: 15_000,
  callTimeoutMs: 2_000,
  maxPendingCalls: 1_000,
  maxEnvelopeBytes: 1_048_576,
  maxEarlyBytes: 8_388_608,
  roomGraceMs: 5_000,
  publicMetadata: Object.freeze([]) as readonly string[], // an empty array is inferred as never[]
  onGap: undefined,
})

/**
 * Reads the `cluster` of a hub's options into its final, frozen form.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION naming the key, the rule and the value: also for a key that
 *   does not exist
 */
export function resolveClusterOptions(options: ClusterOptions = {}): ResolvedClusterOptions {
  if (typeof options !== 'object' || options === null) throw invalid('cluster', 'is an object', options)
  checkKeys(options, CLUSTER_DEFAULTS, 'a setting of cluster')
  const integer = integersOf(options, CLUSTER_DEFAULTS, 'cluster.')
  const { namespace = CLUSTER_DEFAULTS.namespace, onGap } = options
  if (typeof namespace !== 'string' || namespace === '') {
    throw invalid('cluster.namespace', 'is a non-empty string', namespace)
  }
  if (onGap !== undefined && typeof onGap !== 'function') {
    throw invalid('cluster.onGap', 'is a function', onGap)
  }
  const heartbeatIntervalMs = integer('heartbeatIntervalMs', 1)
  const heartbeatTimeoutMs = integer('heartbeatTimeoutMs', 1)
  if (heartbeatTimeoutMs < heartbeatIntervalMs) {
    throw invalid('cluster.heartbeatTimeoutMs', 'is not below heartbeatIntervalMs', heartbeatTimeoutMs)
  }
  return Object.freeze({
    namespace,
    heartbeatIntervalMs,
    heartbeatTimeoutMs,
    callTimeoutMs: integer('callTimeoutMs', 1),
    maxPendingCalls: integer('maxPendingCalls', 1),
    maxEnvelopeBytes: integer('maxEnvelopeBytes', 1_024),
    maxEarlyBytes: integer('maxEarlyBytes', 0),
    roomGraceMs: integer('roomGraceMs', 0),
    publicMetadata: strings(
      'cluster.publicMetadata',
      orDefault(options.publicMetadata, CLUSTER_DEFAULTS.publicMetadata),
    ),
    onGap,
  })
}
