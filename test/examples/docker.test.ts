import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { get, type IncomingMessage, type RequestOptions } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it, onTestFinished } from 'vitest'
import { parse } from 'yaml'
import { accepts, Daemon } from '../support/daemon.ts'
import { freePort } from '../support/free-port.ts'
import { startRedis } from '../support/servers.ts'
import { toolPath } from '../support/tools.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const folder = join(root, 'examples/docker')
const run = promisify(execFile)

interface Service {
  readonly image?: string
  readonly build?: { readonly context: string; readonly dockerfile: string }
  readonly user?: string
  readonly privileged?: boolean
  readonly ports?: readonly string[]
  readonly volumes?: readonly string[]
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>
  readonly healthcheck?: object
}

const read = (name: string) => readFileSync(join(folder, name), 'utf8')
// The files are of the project.
const compose = parse(read('compose.yaml'), { merge: true }) as {
  readonly services: Readonly<Record<string, Service>>
  readonly volumes: Readonly<Record<string, object>>
}
const services = Object.entries(compose.services)
const mounts = services.flatMap(([service, { volumes = [] }]) =>
  volumes.map((volume) => {
    const [source = '', target = '', mode] = volume.split(':')
    return { service, source, target, mode }
  }),
)
const instructions = read('Dockerfile')
  .replaceAll('\\\n', ' ')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
const all = (instruction: string) =>
  instructions
    .filter((line) => line.startsWith(`${instruction} `))
    .map((line) => line.slice(instruction.length + 1))

describe('The Dockerfile', () => {
  it('copies files that exist, and that its ignore file lets through', () => {
    const ignore = read('Dockerfile.dockerignore').trim().split('\n')
    expect(ignore[0]).toBe('*')
    const sources = all('COPY').flatMap((line) =>
      line.startsWith('--from=') ? [] : line.split(' ').slice(0, -1),
    )
    expect(sources.length).toBeGreaterThan(3)
    expect(sources.filter((path) => !existsSync(join(root, path)))).toEqual([])
    expect(sources.filter((path) => !ignore.includes(`!${path}`))).toEqual([])
    expect(ignore.slice(1)).toEqual([...sources].map((path) => `!${path}`))
  })

  it('has bases with full versions, ends as another user than root, and tells its health', () => {
    for (const base of all('FROM')) expect(base).toMatch(/^[a-z]+:\d+\.\d+\.\d+-[a-z-]+( AS [a-z]+)?$/)
    expect(all('USER')).toEqual(['node'])
    const last = instructions.map((line) => line.split(' ')[0]).slice(-4)
    expect(last).toEqual(['USER', 'EXPOSE', 'HEALTHCHECK', 'CMD'])
    expect(all('CMD')).toEqual(['["node", "server.mjs"]']) // without a shell, which would keep SIGTERM
  })
})

describe('The Compose file', () => {
  it('builds from files that exist, and pins all images', () => {
    for (const [, { build, image }] of services) {
      if (build !== undefined) expect(existsSync(join(folder, build.context, build.dockerfile))).toBe(true)
      else expect(image).toMatch(/^[a-z/]+:v?\d+\.\d+\.\d+(-[a-z]+)?$/)
    }
  })

  it('mounts files that exist, for reading alone, and volumes that it declares', () => {
    for (const { source, mode } of mounts) {
      if (source.startsWith('.')) {
        expect(existsSync(join(folder, source)), source).toBe(true)
        expect(mode).toBe('ro')
      } else expect(Object.keys(compose.volumes)).toContain(source)
    }
    expect(mounts.length).toBeGreaterThan(5)
  })

  it('runs nothing as root, and waits for services that tell their health', () => {
    for (const [name, service] of services) {
      expect(service.privileged).toBeUndefined()
      if (service.image !== undefined) expect(service.user, name).toMatch(/^(?!root|0)/)
      for (const [other, { condition }] of Object.entries(service.depends_on ?? {})) {
        expect(condition).toBe('service_healthy')
        expect(compose.services[other]?.healthcheck).toBeDefined()
      }
    }
  })

  it('publishes what is for operators to the machine alone', () => {
    const published = services.flatMap(([, { ports = [] }]) => ports)
    expect(published.filter((port) => !port.startsWith('127.0.0.1:'))).toEqual(['8081:8080', '8082:8080'])
  })
})

describe('The configurations beside it', () => {
  it('have Prometheus scrape the chat, with rules that are mounted', async () => {
    const config = parse(read('prometheus.yml')) as {
      readonly rule_files: readonly string[]
      readonly scrape_configs: readonly {
        readonly static_configs: readonly { readonly targets: string[] }[]
      }[]
    }
    const targets = config.scrape_configs.flatMap((each) => each.static_configs.flatMap((one) => one.targets))
    expect(targets).toEqual(
      services.filter(([, { build }]) => build !== undefined).map(([name]) => `${name}:9100`),
    )
    expect(all('EXPOSE')).toEqual(['8080 9100'])
    const rules = config.rule_files.map((file) => `/etc/prometheus/${file}`)
    expect(mounts.map(({ target }) => target)).toEqual(expect.arrayContaining(rules))
    await run(toolPath('promtool'), ['check', 'config', '--syntax-only', join(folder, 'prometheus.yml')])
  })

  it('have Grafana find Prometheus and the dashboard', () => {
    const { datasources } = parse(read('grafana/datasources.yaml'))
    expect(datasources).toMatchObject([{ type: 'prometheus', url: 'http://prometheus:9090' }])
    expect(compose.services).toHaveProperty('prometheus')
    const { providers } = parse(read('grafana/dashboards.yaml'))
    const [{ options }] = providers
    const dashboard = mounts.find(({ target }) => target.startsWith(`${options.path}/`))
    expect(dashboard?.source).toBe('../../docs/grafana/wshub-dashboard.json')
  })
})

describe('The program of the image', () => {
  it('serves the chat, and to operators its metrics, its state and the inspector', async () => {
    const app = mkdtempSync(join(tmpdir(), 'wshub-docker-'))
    onTestFinished(() => rmSync(app, { recursive: true }))
    await run(process.execPath, [join(folder, 'bundle.mjs'), app])
    const redis = await startRedis()
    onTestFinished(() => redis.stop())
    const [port, operators] = [await freePort(), await freePort()]
    const env = {
      REDIS_URL: `redis://127.0.0.1:${redis.port}`,
      PORT: `${port}`,
      OPERATOR_PORT: `${operators}`,
      HOST: '127.0.0.1',
    }
    const daemon = await Daemon.start(
      process.execPath,
      [join(app, 'server.mjs')],
      async () => (await accepts(port)) && (await accepts(operators)),
      env,
    )
    const text = (address: string) => fetch(address).then((answer) => answer.text())
    try {
      expect(await text(`http://127.0.0.1:${port}/`)).toContain('<title>wshub chat</title>')
      expect(await text(`http://127.0.0.1:${operators}/ready`)).toContain('open, cluster connected')
      expect(await text(`http://127.0.0.1:${operators}/metrics`)).toContain('wshub_cluster_nodes 1')
      expect(await text(`http://127.0.0.1:${operators}/hub`)).toContain('<title>wshub inspector</title>')
      const headers = { host: `pictures.example:${operators}` } // its DNS server says 127.0.0.1
      expect(await statusOf({ host: '127.0.0.1', port: operators, path: '/hub', headers })).toBe(403)
      expect((await fetch(`http://127.0.0.1:${operators}/ready/`)).status).toBe(404)
      for (const path of ['metrics', 'ready', 'hub']) {
        expect((await fetch(`http://127.0.0.1:${port}/${path}`)).status).toBe(404)
      }
    } finally {
      await daemon.stop() // rejects if it does not end by SIGTERM
    }
    expect(daemon.output).toContain('cluster closed')
  })
})

/** Requests with `node:http`, since `fetch` sets `Host` itself. */
async function statusOf(options: RequestOptions): Promise<number | undefined> {
  const [response]: IncomingMessage[] = await once(get(options), 'response')
  response?.resume()
  return response?.statusCode
}
