import type { Hub } from '../hub/hub.ts'
import { CLUSTER_INSTRUMENTS } from './cluster-instruments.ts'
import { CONNECTION_INSTRUMENTS } from './connection-instruments.ts'
import { HISTORY_INSTRUMENTS } from './history-instruments.ts'
import type { HubFigures, Instrument, Reading, Row, Sample } from './instrument.ts'
import { MESSAGE_INSTRUMENTS } from './message-instruments.ts'
import { PRESENCE_INSTRUMENTS } from './presence-instruments.ts'

const ROWS: readonly Row[] = [
  ...CONNECTION_INSTRUMENTS,
  ...MESSAGE_INSTRUMENTS,
  ...CLUSTER_INSTRUMENTS,
  ...HISTORY_INSTRUMENTS,
  ...PRESENCE_INSTRUMENTS,
]

/** All instruments of a hub. The number of their series depends on nothing that happens. */
export const instruments: readonly Instrument[] = Object.freeze(ROWS.map(({ instrument }) => instrument))

/**
 * Reads all instruments of a hub, in the order of {@link instruments}. That visits each connection once, and
 * nothing else that there is many of.
 */
export function readInstruments<Meta extends object>(hub: Hub<Meta>): Reading[] {
  const figures: HubFigures = { hub, stats: hub.stats(), cluster: hub.cluster.stats() }
  return ROWS.map((row) => readingOf(row, figures))
}

function readingOf({ instrument, read }: Row, figures: HubFigures): Reading {
  const { histogram, series } = instrument
  const distribution = histogram === undefined ? undefined : figures.stats.distributions[histogram]
  const values = read(figures)
  if (values === undefined) return { instrument, samples: [], distribution }
  const samples = series.map((labels): Sample => {
    const value = typeof values === 'number' ? values : values[Object.values(labels).join(' ')]
    return { labels, value: value ?? 0 } // 0 for what has not occurred
  })
  return { instrument, samples, distribution }
}
