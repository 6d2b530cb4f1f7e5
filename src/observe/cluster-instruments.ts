import type { BackplaneState } from '../backplane/backplane.ts'
import type { Row } from './instrument.ts'
import { by, counter, gauge, histogram } from './kinds.ts'

const STATES = [
  'connecting',
  'connected',
  'reconnecting',
  'closed',
] as const satisfies readonly BackplaneState[]

/** The instruments of the messages between processes. */
export const CLUSTER_INSTRUMENTS: readonly Row[] = [
  gauge(
    'wshub.cluster.state',
    '{state}',
    '1 for the state of the cluster, as this process sees it, and 0 for the others.',
    ({ hub }) => ({ [hub.cluster.state]: 1 }),
    by('state', STATES),
  ),
  gauge(
    'wshub.cluster.nodes',
    '{node}',
    'Nodes that are known to be alive, this one included.',
    ({ cluster }) => cluster.nodes,
  ),
  counter(
    'wshub.cluster.published.messages',
    '{message}',
    'Messages that the backplane accepted.',
    ({ cluster }) => cluster.published,
  ),
  counter(
    'wshub.cluster.unpublished.messages',
    '{message}',
    'Messages that the backplane did not accept.',
    ({ cluster }) => cluster.unpublished,
  ),
  counter(
    'wshub.cluster.received.messages',
    '{message}',
    'Messages received from other nodes.',
    ({ cluster }) => cluster.received,
  ),
  counter(
    'wshub.cluster.lost.messages',
    '{message}',
    'Messages of other nodes that did not arrive, or too late.',
    ({ cluster }) => cluster.lost,
  ),
  counter(
    'wshub.cluster.repeated.messages',
    '{message}',
    'Messages of other nodes that arrived again.',
    ({ cluster }) => cluster.repeated,
  ),
  counter(
    'wshub.cluster.rejected.messages',
    '{message}',
    'Envelopes that were malformed, or that another version of wshub wrote.',
    ({ cluster: { malformed, unknown } }) => ({ malformed, unknown }),
    by('reason', ['malformed', 'unknown']),
  ),
  gauge(
    'wshub.cluster.calls',
    '{call}',
    'Calls that wait for the answers of other nodes.',
    ({ cluster }) => cluster.pendingCalls,
  ),
  histogram(
    'wshub.cluster.loopback.duration',
    's',
    'Time until a message that this node published to itself came back.',
    'loopbackDuration',
  ),
]
