import type { Row } from './instrument.ts'
import { by, counter, gauge } from './kinds.ts'

/** The instruments of rooms with a history. They have no values without the option `history`. */
export const HISTORY_INSTRUMENTS: readonly Row[] = [
  gauge(
    'wshub.history.rooms',
    '{room}',
    'Rooms with a history that are followed here.',
    ({ stats }) => stats.history?.rooms,
  ),
  counter(
    'wshub.history.published.messages',
    '{message}',
    'Messages to rooms with a history that were stored, or refused.',
    ({ stats: { history } }) => history && { stored: history.appended, refused: history.refused },
    by('outcome', ['stored', 'refused']),
  ),
  counter(
    'wshub.history.published.io',
    'By',
    'Bytes that were stored.',
    ({ stats }) => stats.history?.appendedBytes,
  ),
  gauge(
    'wshub.history.cache.usage',
    'By',
    'Bytes of memory that the latest messages take.',
    ({ stats }) => stats.history?.cachedBytes,
  ),
  counter(
    'wshub.history.resumes',
    '{call}',
    'Calls of `resumeRoom` that have settled.',
    ({ stats: { history } }) => {
      if (history === undefined) return undefined
      const { resumed, incomplete, ended } = history
      return { complete: resumed - incomplete - ended, incomplete, ended }
    },
    by('outcome', ['complete', 'incomplete', 'ended']),
  ),
  counter(
    'wshub.history.replayed.messages',
    '{message}',
    'Messages replayed to single connections.',
    ({ stats }) => stats.history?.replayed,
  ),
  counter(
    'wshub.history.resyncs',
    '{resync}',
    'How many times messages dropped for a slow client were sent to it again.',
    ({ stats }) => stats.history?.resynced,
  ),
  counter(
    'wshub.history.repaired.messages',
    '{message}',
    'Messages that the feed of the store lost, and that were read from it.',
    ({ stats }) => stats.history?.repaired,
  ),
  counter(
    'wshub.history.losses',
    '{loss}',
    'How many times messages of a room could not be delivered, because the store had lost them.',
    ({ stats }) => stats.history?.lost,
  ),
]
