import { execFile } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { EngineProcess, freePort } from '../engine.ts'
import type { Recording } from './recording.ts'

/** The values of a series by time in seconds. */
export interface Curve {
  readonly labels: Readonly<Record<string, string>>
  readonly values: ReadonlyMap<number, number>
}

/** A real Prometheus, which has the recordings as readings of the last hours. */
export class PrometheusServer {
  readonly #url: string
  readonly #folder: string
  readonly #process: EngineProcess
  /** The time of the last readings. */
  readonly endSeconds: number

  private constructor(port: number, folder: string, process: EngineProcess, endSeconds: number) {
    this.#url = `http://127.0.0.1:${port}/api/v1/`
    this.#folder = folder
    this.#process = process
    this.endSeconds = endSeconds
  }

  static async of(recordings: readonly Recording[]): Promise<PrometheusServer> {
    const { PROMETHEUS_PATH = 'prometheus', PROMTOOL_PATH = 'promtool' } = process.env
    const folder = await mkdtemp(join(tmpdir(), 'wshub-drill-'))
    // All steps divide it, so that Prometheus evaluates at the times of the readings.
    const endSeconds = Math.floor(Date.now() / 3_600_000) * 3_600
    const [file, data, config] = [`${folder}/readings`, `${folder}/data`, `${folder}/prometheus.yml`]
    await pipeline(Readable.from(linesOf(recordings, endSeconds)), createWriteStream(file))
    await promisify(execFile)(PROMTOOL_PATH, ['tsdb', 'create-blocks-from', 'openmetrics', file, data])
    await writeFile(config, '{}\n')
    const port = await freePort()
    const child = new EngineProcess(PROMETHEUS_PATH, [
      `--config.file=${config}`,
      `--storage.tsdb.path=${data}`,
      `--web.listen-address=127.0.0.1:${port}`,
      '--storage.tsdb.retention.time=30d',
    ])
    const prometheus = new PrometheusServer(port, folder, child, endSeconds)
    try {
      await child.ready(() => prometheus.#answers())
    } catch (error) {
      await prometheus.close()
      throw error
    }
    return prometheus
  }

  /** Evaluates an expression at each reading of a recording. */
  async query(recording: Recording, expr: string): Promise<Curve[]> {
    const range = new URLSearchParams({
      query: expr,
      start: String(recording.timeOf(0, this.endSeconds)),
      end: String(this.endSeconds),
      step: String(recording.stepSeconds),
    })
    const response = await fetch(`${this.#url}query_range?${range}`)
    // Prometheus documents this form of its answers.
    const { data, error } = (await response.json()) as {
      data?: { result: { metric: Record<string, string>; values: [number, string][] }[] }
      error?: string
    }
    if (data === undefined) throw new Error(`${expr}: ${error}`)
    return data.result.map(({ metric, values }) => ({
      labels: metric,
      values: new Map(values.map(([time, value]) => [time, Number(value)])),
    }))
  }

  async close(): Promise<void> {
    await this.#process.stop()
    await rm(this.#folder, { recursive: true })
  }

  async #answers(): Promise<void> {
    for (;;) {
      const isReady = await fetch(`${this.#url}query?query=1`).then(
        ({ ok }) => ok,
        () => false,
      )
      if (isReady) return
      await sleep(20)
    }
  }
}

function* linesOf(recordings: readonly Recording[], endSeconds: number): Generator<string> {
  for (const recording of recordings) yield* recording.openMetrics(endSeconds)
  yield '# EOF\n'
}
