import type { Metadata, MetadataOf } from '../base/metadata.ts'
import type { LinkStats } from './link.ts'

/** The result of a call to the cluster. A call never fails because of another node. */
export interface Answer<Result> {
  /** The results of the nodes that answered in time. */
  readonly results: Result[]
  /** The nodes that did not answer in time. They may or may not have done what was asked for. */
  readonly missing: string[]
  /** How long the call took, in ms. */
  readonly tookMs: number
}

/** How many connections a node counted. */
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
  /** How many rooms have a member there. */
  readonly rooms: number
  /** Time, in ms, since its hub was made. */
  readonly uptimeMs: number
}

/** The answer of one node's handler; see {@link Cluster.handle}. */
export interface CallResult {
  readonly node: string
  /** The value that the handler returned; `undefined` when it returned nothing, or failed. */
  readonly value: string | Buffer | undefined
  /**
   * Why it failed: there is no such handler, it threw, the node is busy with other calls, or it does not know
   * which messages the call has to follow. `undefined` when it did not fail.
   */
  readonly error: string | undefined
}

/** How to call the cluster. An explicit `undefined` means the default. */
export interface CallOptions {
  /**
   * Time, in ms, for the other nodes to answer, 1 or more. Default `callTimeoutMs` of the option `cluster`.
   */
  timeoutMs?: number | undefined
}

/** Counters of a cluster; see {@link Cluster.stats}. */
export interface ClusterStats extends Readonly<LinkStats> {
  /** How many nodes are known to be alive, this one included. */
  readonly nodes: number
  /** How many rooms of the cluster this node is subscribed to. */
  readonly rooms: number
  /** How many calls of this node wait for answers. */
  readonly pendingCalls: number
}

/** Adds up the counts of an answer. */
export function total(answer: Answer<NodeCount>): CountAnswer {
  return { ...answer, count: answer.results.reduce((sum, { count }) => sum + count, 0) }
}
