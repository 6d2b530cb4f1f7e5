import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join as pathOf } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Registry } from 'prom-client'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { MemoryHistoryBus, memoryHistory } from 'wshub'
import { hubMetrics } from 'wshub/prometheus'
import { Bus } from '../support/bus.ts'
import { join } from '../support/cluster.ts'
import { accepts, Daemon } from '../support/daemon.ts'
import { freePort } from '../support/free-port.ts'
import { listen, stop } from '../support/hub-server.ts'
import { inTime, until } from '../support/in-time.ts'
import { toolPath } from '../support/tools.ts'

const folder = fileURLToPath(new URL('../../docs/grafana/', import.meta.url))
const rules = `${folder}wshub-alerts.yml`

interface Dashboard {
  readonly panels: readonly {
    readonly title: string
    readonly targets?: readonly { readonly expr: string }[]
  }[]
}

// The file is of the project.
const dashboard = JSON.parse(readFileSync(`${folder}wshub-dashboard.json`, 'utf8')) as Dashboard

/** The expressions of all panels, with values for the variables of Grafana. */
const panels = dashboard.panels.flatMap(({ title, targets = [] }) =>
  targets.map(({ expr }) => ({
    title,
    expr: expr.replaceAll(/\$(job|instance)/g, '.+').replaceAll('$__rate_interval', '1m'),
  })),
)

const run = promisify(execFile)

/** The names of the metrics in an expression. */
function metricsIn(expr: string): string[] {
  return [...new Set(expr.match(/\bwshub_[a-z_]+/g))]
}

/** Prometheus, and the hub that it scrapes. */
let prometheus: Daemon
let api: string
const temporary = mkdtempSync(pathOf(tmpdir(), 'wshub-prometheus-'))

/** Asks the HTTP API of Prometheus. */
async function ask<Data>(path: string): Promise<Data> {
  const response = await fetch(`${api}${path}`)
  // Prometheus documents this form of its answers.
  const { status, data, error } = (await response.json()) as { status: string; data: Data; error?: string }
  if (status !== 'success') throw new Error(`${path}: ${error}`)
  return data
}

async function query(expr: string): Promise<readonly { readonly value: [number, string] }[]> {
  const { result } = await ask<{ result: { value: [number, string] }[] }>(
    `query?query=${encodeURIComponent(expr)}`,
  )
  return result
}

/** Starts a hub with all options, whose metrics are served on a port. */
async function serveMetrics(): Promise<number> {
  const bus = new Bus()
  const options = {
    history: { store: memoryHistory({ bus: new MemoryHistoryBus() }), rooms: () => ({}) },
    presence: { rooms: () => 'members' as const, user: () => 'ann' },
  }
  const { hub, client, connection } = await join(bus, {}, options)
  await join(bus)
  const register = new Registry()
  hubMetrics(hub, { register })
  const server = createServer(async (_req, res) => {
    res.setHeader('Content-Type', register.contentType).end(await register.metrics())
  })
  await listen(server)
  onTestFinished(() => stop(server))
  await hub.resumeRoom(connection, 'news')
  await hub.publish('news', 'one')
  hub.broadcast('all')
  await client.received.first('the broadcast', (data) => data === 'all')
  const { port } = server.address() as AddressInfo // the server listens on TCP
  return port
}

beforeAll(() => {
  expect(panels.length).toBeGreaterThan(40)
})

afterAll(async () => {
  await prometheus?.stop()
  rmSync(temporary, { recursive: true, force: true })
})

describe('The files for Grafana and Prometheus', () => {
  it('ask for metrics that a real Prometheus has from a hub, and for nothing else', async () => {
    const [metrics, port] = [await serveMetrics(), await freePort()]
    const config = pathOf(temporary, 'prometheus.yml')
    writeFileSync(
      config,
      JSON.stringify({
        global: { scrape_interval: '200ms', scrape_timeout: '200ms', evaluation_interval: '200ms' },
        rule_files: [rules],
        scrape_configs: [{ job_name: 'chat', static_configs: [{ targets: [`127.0.0.1:${metrics}`] }] }],
      }),
    )
    api = `http://127.0.0.1:${port}/api/v1/`
    const address = `--web.listen-address=127.0.0.1:${port}`
    const args = [`--config.file=${config}`, `--storage.tsdb.path=${temporary}/data`, address]
    prometheus = await Daemon.start(toolPath('prometheus'), args, () => accepts(port))
    const scraped = async () => {
      for (;;) {
        const [rooms] = await query('count_over_time(wshub_rooms[1m])').catch(() => [])
        const { groups } = await ask<Rules>('rules').catch((): Rules => ({ groups: [] }))
        const states = groups.flatMap((group) => group.rules.map(({ health }) => health))
        if (Number(rooms?.value[1]) >= 3 && states.length > 0 && !states.includes('unknown')) return
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
    await inTime('three scrapes, and the rules to be evaluated', scraped(), () => prometheus.output)

    const known = await ask<string[]>('label/__name__/values')
    const asked = [...panels.map(({ expr }) => expr), readFileSync(rules, 'utf8')].flatMap(metricsIn)
    expect(asked.filter((name) => !known.includes(name))).toEqual([])
    const shown = panels.flatMap(({ expr }) => metricsIn(expr))
    const families = known.filter((name) => name.startsWith('wshub_') && !/_(sum|count)$/.test(name))
    expect(families.filter((name) => !shown.includes(name))).toEqual([])

    // A scrape that is late leaves a panel empty until the next one.
    for (const { title, expr } of panels)
      await until(`${title}: ${expr}`, async () => (await query(expr)).length > 0)
    const { groups } = await ask<Rules>('rules')
    const faults = groups.flatMap((group) => group.rules.filter(({ health }) => health !== 'ok'))
    expect(faults).toEqual([])
  })

  it('have rules that promtool accepts, and that fire when they should', async () => {
    const promtool = toolPath('promtool')
    const check = await run(promtool, ['check', 'rules', rules])
    expect(check.stdout).toMatch(/SUCCESS: 17 rules found/)
    const test = await run(promtool, ['test', 'rules', 'wshub-alerts.test.yml'], { cwd: folder })
    expect(test.stdout).toMatch(/SUCCESS/)
  })
})

interface Rules {
  readonly groups: readonly {
    readonly rules: readonly { readonly name: string; readonly health: string }[]
  }[]
}
