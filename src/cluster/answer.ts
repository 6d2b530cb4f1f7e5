import type { Metadata, MetadataOf } from '../base/metadata.ts'
import type { LinkStats } from './link.ts'

/** The result of a call to the cluster. A call never fails because of another node. */
export interface Answer<Result> {
  /** The results of the nodes that answered in time. */
  readonly results: Result[]
  /** The nodes that did not answer in time. They may or may not have done what was asked for. */
  readonly missing: string[]
  /** The duration of the call, in ms. */
  readonly tookMs: number
}

/** The number of connections that a node counted. */
export interface NodeCount {
  readonly node: string
  readonly count: number
}

/** An {@link Answer} of counts. */
export interface CountAnswer extends Answer<NodeCount> {
  /** The sum of the results. */
  readonly count: number
}

/** A connection somewhere in the cluster. */
export interface Member<Meta extends object = Metadata> {
  readonly id: string
  /** The metadata that the option `publicMetadata` of its node makes public, as JSON carries it. */
  readonly metadata: Partial<MetadataOf<Meta>>
}

/** A node as it describes itself. */
export interface NodeInfo {
  readonly node: string
  readonly connections: number
  /** The number of rooms that have a member there. */
  readonly rooms: number
  /** Time, in ms, since its hub was created. */
  readonly uptimeMs: number
}

/** The answer of one node's handler; see {@link Cluster.handle}. */
export interface CallResult {
  readonly node: string
  /** The value that the handler returned; `undefined` when it returned nothing, or failed. */
  readonly value: string | Buffer | undefined
  /**
   * The reason of a failure: there is no such handler, it threw, the node is busy with other calls, or it
   * does not know which messages the call has to follow. `undefined` when it did not fail.
   */
  readonly error: string | undefined
}

/** Options of a call to the cluster. An explicit `undefined` means the default. */
export interface CallOptions {
  /**
   * Time, in ms, for the other nodes to answer, 1 or more. Default `callTimeoutMs` of the option `cluster`.
   */
  timeoutMs?: number | undefined
}

/** Counters of a cluster; see {@link Cluster.stats}. */
export interface ClusterStats extends Readonly<LinkStats> {
  /** The number of nodes that are known to be alive, this one included. */
  readonly nodes: number
  /** The number of rooms of the cluster that this node is subscribed to. */
  readonly rooms: number
  /** The number of calls of this node that wait for answers. */
  readonly pendingCalls: number
}

/** Adds up the counts of an answer. */
export function total(answer: Answer<NodeCount>): CountAnswer {
  return { ...answer, count: answer.results.reduce((sum, { count }) => sum + count, 0) }
}
