import type { Distribution } from '../base/histogram.ts'
import type { ClusterStats } from '../cluster/answer.ts'
import type { HistogramName } from '../hub/distributions.ts'
import type { Hub } from '../hub/hub.ts'
import type { HubStats } from '../hub/stats.ts'

/** The labels of one value of an instrument; none for an instrument that has one value only. */
export type Labels = Readonly<Record<string, string>>

/** Something that a hub tells about itself in numbers. */
export interface Instrument {
  /** Its name, as OpenTelemetry forms names: `wshub.upgrades`. Never renamed. */
  readonly name: string
  /** A `counter` only rises, a `gauge` is a current value, a `histogram` counts values by size. */
  readonly kind: 'counter' | 'gauge' | 'histogram'
  /** By the Unified Code for Units of Measure: `s`, `By`, `1` for a share, `{message}` for a number. */
  readonly unit: string
  readonly description: string
  /** Every combination of labels that it has a value for; it has no others, whatever happens. */
  readonly series: readonly Labels[]
  /** The upper bounds of the buckets of a histogram; empty for other kinds. */
  readonly bounds: readonly number[]
  /** Its name in `hub.stats().distributions` and on the channel `wshub:measure`; only of a histogram. */
  readonly histogram: HistogramName | undefined
}

/** A value of an instrument. */
export interface Sample {
  readonly labels: Labels
  readonly value: number
}

/** The values of an instrument, as of now. */
export interface Reading {
  readonly instrument: Instrument
  /** One for each of its series; empty for a histogram, and without the option that it belongs to. */
  readonly samples: readonly Sample[]
  /** Only of a histogram. */
  readonly distribution: Distribution | undefined
}

/** The figures that instruments are read from. */
export interface HubFigures {
  readonly stats: HubStats
  readonly cluster: ClusterStats
  readonly hub: Pick<Hub, 'options' | 'cluster'>
}

/** Returns the value, or that of each series, by its labels; `undefined` without the option. */
export type Read = (figures: HubFigures) => number | Readonly<Record<string, number>> | undefined

/** An instrument, and how it is read. */
export interface Row {
  readonly instrument: Instrument
  readonly read: Read
}
