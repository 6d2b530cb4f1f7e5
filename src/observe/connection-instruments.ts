import { REFUSALS } from '../base/errors.ts'
import { CLOSE_CAUSES } from '../connection/close-cause.ts'
import type { Row } from './instrument.ts'
import { by, counter, gauge, histogram } from './kinds.ts'

/** The instruments of connections, from the upgrade to the end. */
export const CONNECTION_INSTRUMENTS: readonly Row[] = [
  gauge(
    'wshub.connections',
    '{connection}',
    'Connections, by state.',
    ({ stats }) => stats.connectionStates,
    by('state', ['connecting', 'open', 'closing']),
  ),
  gauge(
    'wshub.connections.limit',
    '{connection}',
    'The option `maxConnections`.',
    ({ hub }) => hub.options.maxConnections,
  ),
  counter(
    'wshub.upgrades',
    '{upgrade}',
    'Upgrades that the hub accepted, or refused with an error of that code.',
    ({ stats }) => ({ accepted: stats.acceptedUpgrades, ...stats.refusedUpgrades }),
    by('outcome', ['accepted', ...REFUSALS]),
  ),
  gauge(
    'wshub.upgrades.pending',
    '{upgrade}',
    'Upgrades that wait for the answer of the application.',
    ({ stats }) => stats.pendingUpgrades,
  ),
  counter(
    'wshub.closes',
    '{connection}',
    'Connections that ended, by who ended them and why.',
    ({ stats }) =>
      Object.fromEntries(
        stats.closeCauses.map((cause) => [`${cause.by} ${cause.reason}`, cause.connections]),
      ),
    CLOSE_CAUSES,
  ),
  histogram(
    'wshub.connection.duration',
    's',
    'How long connections were open that have ended.',
    'connectionDuration',
  ),
  histogram('wshub.ping.duration', 's', 'Time from a ping to its pong.', 'pingDuration'),
  gauge('wshub.rooms', '{room}', 'Rooms that have a member here.', ({ stats }) => stats.rooms),
]
