import { createServer, type RequestListener } from 'node:http'
import { onTestFinished } from 'vitest'
import { Hub } from 'wshub'
import { type InspectorOptions, inspector } from 'wshub/inspector'
import type { Snapshot } from '../../adapters/inspector/snapshot.ts'
import { portOf } from '../adapters/frameworks.ts'
import { passing } from '../support/held-clock.ts'
import { Client, listen, stop } from '../support/hub-server.ts'

/** A text that would be a script if it were taken for HTML. */
export const HOSTILE = '</script><img src=x onerror=alert(1)>'

/** The options of an inspector that everybody may look at. */
export const view: InspectorOptions = { authorize: () => true }

/** The options of one in which everybody may do everything. */
export const everything: InspectorOptions = {
  authorize: () => ({ view: true, payloads: true, send: true, disconnect: true }),
}

/** A hub and its server, until the test is over. @returns the port */
export async function served(hub: Hub, listener: RequestListener): Promise<number> {
  const server = createServer(listener)
  hub.attach(server)
  await listen(server)
  onTestFinished(async () => {
    await hub.close({ timeoutMs: 50 })
    await stop(server)
  })
  return portOf(server)
}

export interface Inspected {
  readonly hub: Hub
  readonly port: number
  /** A client that is no page. */
  client(): Promise<Client>
}

/** A server of `node:http` with an inspector at `/hub`, and clients everywhere else. */
export async function inspected(options: InspectorOptions, hub = new Hub()): Promise<Inspected> {
  const route = inspector(hub, options)
  const port = await served(hub, (req, res) => {
    if (req.url === '/hub') void route(req, res)
    else void hub.upgrade(req, {})
  })
  return { hub, port, client: () => Client.open(`ws://127.0.0.1:${port}/`) }
}

/** A snapshot as a page receives it. */
export interface Shown extends Snapshot {
  readonly token: string
  readonly self: string
  readonly may: object
  readonly missing: readonly string[]
  readonly without: readonly string[]
}

/** The WebSocket of a page, without a browser. */
export class Page {
  readonly client: Client

  private constructor(client: Client) {
    this.client = client
  }

  static async open(port: number, path = '/hub'): Promise<Page> {
    const origin = `http://127.0.0.1:${port}`
    const page = new Page(await Client.open(`ws://127.0.0.1:${port}${path}`, { origin }))
    page.view()
    return page
  }

  send(message: object): void {
    this.client.socket.send(JSON.stringify(message))
  }

  /** Says what it shows. */
  view(query: object = {}, follow: object | null = null): void {
    this.send({ type: 'view', token: 't', query, follow })
  }

  /** Resolves with the first snapshot with complete lists for which something holds. */
  async shows(what: string, holds: (shown: Shown) => boolean = () => true): Promise<Shown> {
    const holdsFor = (text: string): Shown | undefined => {
      const shown = messageOf(text)
      return shown.nodes !== undefined && shown.isSearching !== true && holds(shown as Shown)
        ? (shown as Shown)
        : undefined // it has nodes
    }
    const json = await passing(this.client.received.first(what, (text) => holdsFor(text) !== undefined))
    return JSON.parse(json)
  }

  /** Resolves with the first answer to an action that has a text. */
  async told(text: string): Promise<void> {
    await this.client.received.first(`"${text}"`, (json) => messageOf(json).done?.includes(text) === true)
  }
}

/** Returns a message to a page; nothing of one that the application has sent to everyone. */
export function messageOf(json: string): Partial<Shown & { done: string }> {
  return json.startsWith('{') ? JSON.parse(json) : {}
}
