import { HISTOGRAM_BOUNDS, type HistogramName } from '../hub/distributions.ts'
import type { Labels, Read, Row } from './instrument.ts'

/** The series of an instrument without labels. */
const ONE: readonly Labels[] = [{}]

/** Returns a series for each value of a label. */
export function by(label: string, values: readonly string[]): Labels[] {
  return values.map((value) => ({ [label]: value }))
}

/** Returns the row of an instrument that only rises. */
export function counter(name: string, unit: string, description: string, read: Read, series = ONE): Row {
  return {
    instrument: { name, kind: 'counter', unit, description, series, bounds: [], histogram: undefined },
    read,
  }
}

/** Returns the row of an instrument that shows a current value. */
export function gauge(name: string, unit: string, description: string, read: Read, series = ONE): Row {
  return {
    instrument: { name, kind: 'gauge', unit, description, series, bounds: [], histogram: undefined },
    read,
  }
}

/** Returns the row of a histogram, which is not read as single values. */
export function histogram(name: string, unit: string, description: string, of: HistogramName): Row {
  const bounds = HISTOGRAM_BOUNDS[of]
  return {
    instrument: { name, kind: 'histogram', unit, description, series: ONE, bounds, histogram: of },
    read: () => undefined,
  }
}
