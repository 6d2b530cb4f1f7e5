import type { Row } from './instrument.ts'
import { counter, gauge } from './kinds.ts'

/** The instruments of who is in rooms. They have no values without the option `presence`. */
export const PRESENCE_INSTRUMENTS: readonly Row[] = [
  gauge(
    'wshub.presence.rooms',
    '{room}',
    'Rooms whose members are followed here.',
    ({ stats }) => stats.presence?.rooms,
  ),
  gauge(
    'wshub.presence.members',
    '{user}',
    'Users of all nodes in these rooms, once for each room.',
    ({ stats }) => stats.presence?.members,
  ),
  counter(
    'wshub.presence.changes',
    '{change}',
    'Calls of `presence.onChange`.',
    ({ stats }) => stats.presence?.changes,
  ),
  counter(
    'wshub.presence.repairs',
    '{repair}',
    'How many times a node was asked again who is in a room.',
    ({ stats }) => stats.presence?.repairs,
  ),
]
