import { readFileSync } from 'node:fs'
import type { Alarm } from './alarms.ts'
import { drawChart, type Line } from './chart.ts'
import type { Report } from './drill.ts'
import type { Curve, PrometheusServer } from './prometheus-server.ts'
import type { Recording } from './recording.ts'

interface Dashboard {
  readonly panels: readonly {
    readonly title: string
    readonly fieldConfig?: { readonly defaults: { readonly unit?: string } }
    readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[]
  }[]
}

/** Draws the panels of the dashboard on which a drill is seen, with the values that Prometheus returns. */
export async function draw(
  { drill, recording }: Report,
  alarms: readonly Alarm[],
  prometheus: PrometheusServer,
): Promise<string> {
  const file = new URL('../../docs/grafana/wshub-dashboard.json', import.meta.url)
  const { panels } = JSON.parse(readFileSync(file, 'utf8')) as Dashboard // the file is of the project
  const shown = drill.panels.map(async (title) => {
    const panel = panels.find((each) => each.title === title && each.targets !== undefined)
    if (panel?.targets === undefined) throw new Error(`the dashboard has no panel ${title}`)
    const lines: Line[] = []
    for (const { expr, legendFormat } of panel.targets) {
      for (const curve of await prometheus.query(recording, exprOf(expr, recording))) {
        lines.push({ name: nameOf(legendFormat, curve), values: valuesOf(curve, recording, prometheus) })
      }
    }
    return { title, unit: panel.fieldConfig?.defaults.unit ?? 'short', lines }
  })
  return drawChart({
    title: drill.title,
    stepSeconds: recording.stepSeconds,
    length: recording.length,
    fault: recording.fault,
    repair: recording.repair,
    panels: await Promise.all(shown),
    alarms: drill.alarms.map((name) => ({
      name,
      indexes: alarms.filter(({ rule }) => rule.alert === name).flatMap(({ indexes }) => indexes),
    })),
  })
}

/** Fills in the variables of Grafana. */
function exprOf(expr: string, { job, stepSeconds }: Recording): string {
  return expr
    .replaceAll('$job', job)
    .replaceAll('$instance', '.+')
    .replaceAll('$__rate_interval', `${4 * stepSeconds}s`)
}

function nameOf(legend: string, { labels }: Curve): string {
  return legend.replaceAll(/{{(\w+)}}/g, (_, label: string) => labels[label] ?? '')
}

function valuesOf(
  { values }: Curve,
  recording: Recording,
  prometheus: PrometheusServer,
): (number | undefined)[] {
  return Array.from({ length: recording.length }, (_, index) =>
    values.get(recording.timeOf(index, prometheus.endSeconds)),
  )
}
