import { type Photographer, Scene } from './scene.ts'

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
  run(scene: Scene): Promise<void>
}

/** A drill that has run. */
export interface Report {
  readonly name: string
  readonly drill: Drill
  readonly recording: Scene['recording']
}

/** Runs a drill, and records what Prometheus would read. */
export async function runDrill(name: string, drill: Drill, photographer?: Photographer): Promise<Report> {
  const scene = new Scene(name, drill.stepSeconds, drill.tickMs, photographer)
  try {
    await drill.run(scene)
  } finally {
    await scene.end()
  }
  return { name, drill, recording: scene.recording }
}
