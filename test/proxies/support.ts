import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { get } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { ClientOptions } from 'ws'
import { Daemon } from '../support/daemon.ts'
import { freePort } from '../support/free-port.ts'
import { Client, inTime } from '../support/hub-server.ts'
import { toolPath } from '../support/tools.ts'

/** The site of `docs/proxies.md`. */
export const SITE = 'app.example.com'

const document = readFileSync(new URL('../../docs/proxies.md', import.meta.url), 'utf8')

type Replacements = Readonly<Record<string, string>>

/** The blocks of one language in `docs/proxies.md`, in order. */
export function documented(language: string): string[] {
  const blocks = [...document.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))]
  return blocks.map(([, text = '']) => text)
}

/** Replaces ports, files and times of a configuration by those of a test. Each must occur once. */
export function adapt(configuration: string, replacements: Replacements): string {
  let adapted = configuration
  for (const [text, replacement] of Object.entries(replacements)) {
    const parts = adapted.split(text)
    if (parts.length !== 2) throw new Error(`${text} is there ${parts.length - 1} times:\n${configuration}`)
    adapted = parts.join(replacement)
  }
  return adapted
}

export interface Settings {
  /** The port of the application. */
  readonly app: number
  /** Replaces the document's idle timeout. */
  readonly idle?: string
  /** Replaces the document's time for which a reloaded proxy keeps its old connections. */
  readonly linger?: string
}

/** A kind of proxy: how it is set up, run and reloaded. */
export interface Make {
  readonly name: string
  /** The status of its answer while the application is down. */
  readonly statusWithoutApp: number
  command(site: Site): { file: string; args: readonly string[]; env?: NodeJS.ProcessEnv }
  /** Whether it serves the site and can be reloaded. */
  isReady(site: Site): Promise<boolean>
  configuration(site: Site, settings: Settings): string
  /** Makes it read its configuration again. */
  reload(site: Site, daemon: Daemon): Promise<unknown>
}

/** The addresses and the files of a proxy. */
export class Site {
  readonly port: number
  readonly folder = mkdtempSync(join(tmpdir(), 'wshub-proxy-'))
  readonly configuration = this.file('configuration')
  readonly certificate = this.file('certificate.pem')
  readonly key = this.file('certificate.key')
  /** Certificate and key in one file. */
  readonly pem = this.file('both.pem')

  constructor(port: number) {
    this.port = port
    onTestFinished(() => rmSync(this.folder, { recursive: true, force: true }))
    const subject = ['-subj', `/CN=${SITE}`, '-addext', `subjectAltName=DNS:${SITE}`]
    const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
    execFileSync(
      toolPath('openssl'),
      ['req', '-x509', ...kind, ...subject, '-keyout', this.key, '-out', this.certificate],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    )
    writeFileSync(this.pem, readFileSync(this.certificate, 'utf8') + readFileSync(this.key, 'utf8'))
  }

  file(name: string): string {
    return join(this.folder, name)
  }
}

/** A proxy that runs until the test is over. */
export class RunningProxy {
  readonly #make: Make
  readonly #site: Site
  readonly #daemon: Daemon

  private constructor(make: Make, site: Site, daemon: Daemon) {
    this.#make = make
    this.#site = site
    this.#daemon = daemon
  }

  static async start(make: Make, settings: Settings): Promise<RunningProxy> {
    const site = new Site(await freePort())
    writeFileSync(site.configuration, make.configuration(site, settings))
    const { file, args, env } = make.command(site)
    const daemon = await Daemon.start(file, args, () => make.isReady(site), env)
    onTestFinished(() => daemon.stop())
    return new RunningProxy(make, site, daemon)
  }

  get port(): number {
    return this.#site.port
  }

  /** The `Origin` of the site's pages. */
  get origin(): string {
    return `https://${this.#authority}`
  }

  get #authority(): string {
    return `${SITE}:${this.port}`
  }

  /** Resolves once requests reach the application with the new settings. */
  async reload(settings: Settings, hasArrived: () => boolean): Promise<void> {
    writeFileSync(this.#site.configuration, this.#make.configuration(this.#site, settings))
    const arrival = async () => {
      await this.#make.reload(this.#site, this.#daemon)
      while (!hasArrived()) await this.get()
    }
    await inTime('the proxy to reload', arrival(), () => this.#daemon.output)
  }

  connect(options: ClientOptions = {}, protocols: string[] = []): Promise<Client> {
    const headers = { ...options.headers, Host: this.#authority }
    return Client.open(`wss://127.0.0.1:${this.port}`, { ...options, ...this.tls, headers }, protocols)
  }

  /** Returns the answer to an ordinary request. */
  async get(): Promise<{ status: number | undefined; body: string }> {
    const request = get({
      host: '127.0.0.1',
      port: this.port,
      agent: false,
      headers: { Host: this.#authority },
      ...this.tls,
    })
    const [response]: IncomingMessage[] = await once(request, 'response')
    let body = ''
    for await (const chunk of response ?? []) body += chunk
    return { status: response?.statusCode, body }
  }

  /** TLS options for a client. */
  get tls() {
    return { servername: SITE, ca: readFileSync(this.#site.certificate) }
  }
}
