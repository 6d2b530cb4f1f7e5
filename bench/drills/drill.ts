import { DrillSystem, type TakeScreenshot } from './drill-system.ts'

/** A fault that is caused on purpose, and how it is seen. */
export interface Drill {
  readonly title: string
  /** The time between two readings in what is drawn, in seconds. */
  readonly stepSeconds: number
  /** How long the machine takes for that, in ms. */
  readonly tickMs: number
  /** The alarms that show it; no other may go off. */
  readonly alarms: readonly string[]
  /** The panels of the dashboard on which it is seen. */
  readonly panels: readonly string[]
  /** The conclusion of an operator from these. */
  readonly verdict: string
  run(system: DrillSystem): Promise<void>
}

/** A drill that has run. */
export interface Report {
  readonly name: string
  readonly drill: Drill
  readonly recording: DrillSystem['recording']
}

/** Runs a drill, and records what Prometheus would read. */
export async function runDrill(name: string, drill: Drill, takeScreenshot?: TakeScreenshot): Promise<Report> {
  const system = new DrillSystem(name, drill.stepSeconds, drill.tickMs, takeScreenshot)
  try {
    await drill.run(system)
  } finally {
    await system.end()
  }
  return { name, drill, recording: system.recording }
}
