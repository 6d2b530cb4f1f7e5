import { readFileSync } from 'node:fs'
import { parse } from 'yaml'
import type { PrometheusServer } from './prometheus-server.ts'
import type { Recording } from './recording.ts'

/** A rule of docs/grafana/wshub-alerts.yml. */
export interface Rule {
  readonly alert: string
  readonly expr: string
  /** How long the expression has to hold before the alarm goes off. */
  readonly forSeconds: number
  readonly annotations: Readonly<Record<string, string>>
}

/** An alarm that went off in a drill. */
export interface Alarm {
  readonly rule: Rule
  /** The labels that tell it from others of the same rule. */
  readonly labels: Readonly<Record<string, string>>
  /** The readings at which it was on. */
  readonly indexes: readonly number[]
}

interface RuleFile {
  readonly groups: readonly {
    readonly rules: readonly (Omit<Rule, 'forSeconds'> & { readonly for?: string })[]
  }[]
}

const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 }

export function readRules(): Rule[] {
  const file = new URL('../../docs/grafana/wshub-alerts.yml', import.meta.url)
  const { groups } = parse(readFileSync(file, 'utf8')) as RuleFile // `promtool` checks the file
  return groups.flatMap(({ rules }) =>
    rules.map(({ for: time = '0s', ...rule }) => ({ ...rule, forSeconds: secondsOf(time) })),
  )
}

/** Returns the alarms that Prometheus would have raised in a drill, had the rules been in force. */
export async function alarmsOf(recording: Recording, prometheus: PrometheusServer): Promise<Alarm[]> {
  const alarms: Alarm[] = []
  for (const rule of readRules()) {
    for (const { labels, values } of await prometheus.query(recording, rule.expr)) {
      if (labels.job !== recording.job) continue
      const indexes = firing(recording, rule, (index) =>
        values.has(recording.timeOf(index, prometheus.endSeconds)),
      )
      if (indexes.length > 0) alarms.push({ rule, labels, indexes })
    }
  }
  return alarms
}

/** Returns the readings at which a rule has held for as long as it asks for. */
function firing({ length, stepSeconds }: Recording, rule: Rule, holds: (index: number) => boolean): number[] {
  const indexes: number[] = []
  let since: number | undefined
  for (let index = 0; index < length; index++) {
    since = holds(index) ? (since ?? index) : undefined
    if (since !== undefined && (index - since) * stepSeconds >= rule.forSeconds) indexes.push(index)
  }
  return indexes
}

function secondsOf(time: string): number {
  const [, number = '', unit = ''] = /^(\d+)([smhd])$/.exec(time) ?? []
  return Number(number) * (SECONDS[unit] ?? Number.NaN)
}
