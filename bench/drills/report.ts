import type { Alarm } from './alarms.ts'
import type { Report } from './drill.ts'
import type { Recording, Series } from './recording.ts'

/** It goes off when the machine of a drill is busy with something else. */
const OF_THE_MACHINE = 'WshubEventLoopLate'

/** Most lines of metrics. */
const MAX_METRICS = 24

/** Returns what an operator sees of a drill, and concludes. */
export function describe(report: Report, alarms: readonly Alarm[]): string {
  const { name, drill, recording } = report
  const changed = changesOf(recording)
  const faults = faultsOf(report, alarms)
  return [
    `\n${name}: ${drill.title}`,
    '  metrics that changed:',
    ...changed.slice(0, MAX_METRICS).map((line) => `    ${line}`),
    ...(changed.length > MAX_METRICS ? [`    and ${changed.length - MAX_METRICS} more`] : []),
    '  alarms:',
    ...alarms.map((alarm) => `    ${lineOf(alarm, recording)}`),
    `  verdict: ${drill.verdict}`,
    ...faults.map((fault) => `  FAILED: ${fault}`),
  ].join('\n')
}

/** Returns why a drill has failed; empty when it has not. */
export function faultsOf({ drill, recording }: Report, alarms: readonly Alarm[]): string[] {
  const own = alarms.filter(({ rule }) => rule.alert !== OF_THE_MACHINE)
  const names = [...new Set(own.map(({ rule }) => rule.alert))]
  const begin = recording.fault?.index ?? 0
  return [
    ...drill.alarms.filter((name) => !names.includes(name)).map((name) => `${name} did not go off`),
    ...names.filter((name) => !drill.alarms.includes(name)).map((name) => `${name} went off as well`),
    ...own
      .filter(({ indexes: [first = 0] }) => first < begin)
      .map(({ rule }) => `${rule.alert} went off before the fault`),
    ...own
      .filter(({ indexes }) => recording.repair !== undefined && indexes.at(-1) === recording.length - 1)
      .map(({ rule }) => `${rule.alert} did not end after the repair`),
  ]
}

function lineOf({ rule, labels, indexes }: Alarm, recording: Recording): string {
  const { job: _job, __name__: _name, ...others } = labels
  const after = timeText(((indexes[0] ?? 0) - (recording.fault?.index ?? 0)) * recording.stepSeconds)
  return `${rule.alert}${labelText(others)} ${after} after the fault${endOf(indexes, recording)}`
}

/** Returns when an alarm ended, beside the repair. */
function endOf(indexes: readonly number[], { repair, stepSeconds }: Recording): string {
  if (repair === undefined) return ''
  const steps = (indexes.at(-1) ?? 0) + 1 - repair.index
  if (steps === 0) return ', ends with the repair'
  return `, ends ${timeText(Math.abs(steps) * stepSeconds)} ${steps < 0 ? 'before' : 'after'} the repair`
}

/** Returns a line for each series that is not what it was before the fault. */
function changesOf(recording: Recording): string[] {
  const { fault, repair, length } = recording
  const [begin, end] = [fault?.index ?? 0, repair?.index ?? length]
  return [...recording.series].flatMap((series) => {
    if (/_(bucket|sum)$/.test(series.name)) return [] // they say little by themselves
    return /_(total|count)$/.test(series.name)
      ? counterChange(series, begin, end)
      : gaugeChange(series, begin, end)
  })
}

/** A counter that rises more than twice as fast, or less than half as fast. */
function counterChange({ name, labels, values }: Series, begin: number, end: number): string[] {
  const rise = (from: number, to: number) => {
    let sum = 0 // a new process begins at zero
    for (let index = from + 1; index < to; index++) {
      const [last = 0, now = last] = [values[index - 1], values[index]]
      sum += now >= last ? now - last : now
    }
    return sum / Math.max(1, to - from - 1)
  }
  const [before, during] = [rise(0, begin), rise(begin - 1, end)]
  if (during <= 2 * before && during >= before / 2) return []
  return [`${name}${labelsOf(labels)} ${shortNumber(before)} → ${shortNumber(during)} a reading`]
}

/** A gauge that has values which it never had before. */
function gaugeChange({ name, labels, values }: Series, begin: number, end: number): string[] {
  const known = (from: number, to: number) => values.slice(from, to).filter((value) => value !== undefined)
  const [before, during] = [known(0, begin), known(begin, end)]
  const usual = before.at(-1) ?? 0
  const farther = (far: number, value: number) =>
    distance(before, value) > distance(before, far) ? value : far
  const peak = during.reduce(farther, usual)
  if (distance(before, peak) <= 0.2 * Math.abs(usual)) return []
  return [`${name}${labelsOf(labels)} ${shortNumber(usual)} → ${shortNumber(peak)}`]
}

/** Returns how far a value lies outside of those that were there before. */
function distance(before: readonly number[], value: number): number {
  return Math.max(0, value - Math.max(...before), Math.min(...before) - value)
}

function labelsOf({ job: _, ...labels }: Series['labels']): string {
  return labelText(labels)
}

function labelText(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${text}"`)
  return pairs.length === 0 ? '' : `{${pairs.join(', ')}}`
}

function shortNumber(value: number): string {
  return Number(value.toPrecision(3)).toLocaleString('en-US')
}

/** Returns a time in the words of Prometheus. */
export function timeText(seconds: number): string {
  if (seconds < 60) return `${seconds} s`
  if (seconds >= 3_600 && seconds % 3_600 === 0) return `${seconds / 3_600} h`
  return seconds % 60 === 0 ? `${seconds / 60} min` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`
}
