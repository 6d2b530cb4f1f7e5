import { DROP_REASONS } from '../delivery/drop-count.ts'
import type { Row } from './instrument.ts'
import { by, counter, gauge, histogram } from './kinds.ts'

/** The instruments of messages from and to clients. */
export const MESSAGE_INSTRUMENTS: readonly Row[] = [
  counter(
    'wshub.received.messages',
    '{message}',
    'Messages received from clients.',
    ({ stats }) => stats.receivedMessages,
  ),
  counter('wshub.received.io', 'By', 'Their bytes, after inflation.', ({ stats }) => stats.receivedBytes),
  counter(
    'wshub.sent.messages',
    '{message}',
    'Messages accepted for sending, once for each connection.',
    ({ stats }) => stats.sentMessages,
  ),
  counter('wshub.sent.io', 'By', 'Bytes of their frames.', ({ stats }) => stats.sentBytes),
  counter(
    'wshub.dropped.messages',
    '{message}',
    'Messages dropped instead of sent.',
    ({ stats }) =>
      Object.fromEntries(Object.entries(stats.dropped).map(([reason, { messages }]) => [reason, messages])),
    by('reason', DROP_REASONS),
  ),
  counter(
    'wshub.dropped.io',
    'By',
    'Bytes of their frames.',
    ({ stats }) =>
      Object.fromEntries(Object.entries(stats.dropped).map(([reason, { bytes }]) => [reason, bytes])),
    by('reason', DROP_REASONS),
  ),
  gauge(
    'wshub.buffer.usage',
    'By',
    'Bytes that wait in memory, of all connections together.',
    ({ stats }) => stats.bufferedBytes,
  ),
  gauge(
    'wshub.buffer.utilization',
    '1',
    'Share of `maxTotalBufferedBytes` that waits for slow clients.',
    ({ stats, hub }) => stats.heldBytes / hub.options.maxTotalBufferedBytes,
  ),
  gauge(
    'wshub.slow.utilization',
    '1',
    'Share of the connections for which more than half of `maxBufferedBytes` waits.',
    ({ stats }) => stats.slowConnections / Math.max(1, stats.connections),
  ),
  histogram(
    'wshub.broadcast.recipients',
    '{connection}',
    'Connections of this process that accepted a broadcast.',
    'broadcastRecipients',
  ),
  histogram(
    'wshub.flush.delay',
    's',
    'Time that the event loop took until the writes of a turn began.',
    'flushDelay',
  ),
  histogram(
    'wshub.flush.duration',
    's',
    'Time from the first message of a turn until all that waited was written.',
    'flushDuration',
  ),
]
