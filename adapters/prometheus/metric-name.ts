import type { Instrument } from 'wshub'

/** The units in the names of metrics. Those in braces, like `{message}`, are not part of a name. */
const UNITS: Readonly<Record<string, string>> = { s: '_seconds', By: '_bytes', 1: '_ratio' }

/** Returns the name of an instrument in Prometheus, by the rules of OpenTelemetry for its exporters. */
export function metricName(prefix: string, { name, unit, kind }: Instrument): string {
  const total = kind === 'counter' ? '_total' : ''
  return `${prefix}${name.replaceAll('.', '_')}${UNITS[unit] ?? ''}${total}`
}
