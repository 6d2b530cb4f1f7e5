import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Registry } from 'prom-client'
import { WebSocket } from 'ws'
import { type EventHandler, Hub, HubError, type HubOptions } from 'wshub'
import { inspector } from 'wshub/inspector'
import { hubMetrics } from 'wshub/prometheus'
import { Recording } from './recording.ts'

/** Time, in ms, that a drill waits for anything; all of it takes far less, even on a busy machine. */
const LIMIT_MS = 120_000

/** A process of the application, as Prometheus sees it. */
export interface Instance {
  readonly hub: Hub
  readonly server: Server
  readonly port: number
  readonly url: string
}

/** Takes a picture of the inspector at that address, from a heading on, while something goes on. */
export type TakeScreenshot = (url: string, work: () => unknown, heading: string) => Promise<void>

/** The hubs and clients of a drill, and what Prometheus reads of them. */
export class DrillSystem {
  readonly recording: Recording
  readonly #tickMs: number
  readonly #registers = new Map<string, Registry>()
  readonly #cleanUps: (() => unknown)[] = []

  readonly #takeScreenshot: TakeScreenshot | undefined

  /** @param tickMs how long a drill waits before each reading */
  constructor(job: string, stepSeconds: number, tickMs: number, takeScreenshot?: TakeScreenshot) {
    this.#takeScreenshot = takeScreenshot
    this.recording = new Recording(job, stepSeconds)
    this.#tickMs = tickMs
  }

  /** Starts an instance of the application; a later one with the same name takes its place. */
  async serve(name: string, options: HubOptions, handler: EventHandler = {}, port = 0): Promise<Instance> {
    const hub = new Hub({ pingIntervalMs: 0, ...options, onError: () => {} })
    const register = new Registry()
    hubMetrics(hub, { register })
    const inspect = inspector(hub, { authorize: () => true })
    const server = createServer((request, response) => {
      if (request.url === '/hub') return void inspect(request, response)
      try {
        hub.upgrade(request, handler).catch(() => {}) // the client has gone
      } catch (error) {
        if (!(error instanceof HubError)) throw error
        response.writeHead(error.status, { ...error.headers }).end(error.message)
      }
    })
    hub.attach(server)
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    this.#registers.set(name, register)
    this.defer(async () => {
      await hub.close({ timeoutMs: 0 })
      server.closeAllConnections()
      server.close()
    })
    const { port: own } = server.address() as AddressInfo // the server listens on TCP
    return { hub, server, port: own, url: `ws://127.0.0.1:${own}/` }
  }

  /** Connects clients that stay. */
  connect(url: string, count: number): Promise<WebSocket[]> {
    return Promise.all(
      Array.from({ length: count }, async () => {
        const client = new WebSocket(url)
        client.on('error', () => {}) // a `close` follows
        this.defer(() => client.terminate())
        await once(client, 'open')
        return client
      }),
    )
  }

  /** Reads the metrics so many times, each after some work. */
  async ticks(count: number, work: (tick: number) => unknown = () => {}): Promise<void> {
    for (let tick = 0; tick < count; tick++) {
      await work(tick)
      await sleep(this.#tickMs)
      await this.recording.read(this.#registers)
    }
  }

  /** Takes a screenshot of the inspector of an instance, if there are to be any. */
  async screenshot(
    { port }: Instance,
    work: () => unknown = () => {},
    heading = 'wshub inspector',
  ): Promise<void> {
    await this.#takeScreenshot?.(`http://127.0.0.1:${port}/hub`, work, heading)
  }

  /** The next reading is the first one with the fault. */
  faultBegins(text: string): void {
    this.recording.fault = { index: this.recording.length, text }
  }

  /** The next reading is the first one after the repair. */
  repaired(text: string): void {
    this.recording.repair = { index: this.recording.length, text }
  }

  async until(what: string, isTrue: () => boolean): Promise<void> {
    for (const end = performance.now() + LIMIT_MS; !isTrue(); await sleep(5)) {
      if (performance.now() > end) throw new Error(`${what}: not within ${LIMIT_MS} ms`)
    }
  }

  /** Has something done when the drill is over, the last first. */
  defer(cleanUp: () => unknown): void {
    this.#cleanUps.push(cleanUp)
  }

  async end(): Promise<void> {
    for (const cleanUp of this.#cleanUps.splice(0).reverse()) await cleanUp()
  }
}
