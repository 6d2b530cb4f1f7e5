import { channel } from 'node:diagnostics_channel'
import type { IncomingMessage } from 'node:http'
import type { Connection, EventHandler, Hub } from 'wshub'
import type { readPermissions } from './inspector-options.ts'
import type { NodeReport } from './node-report.ts'

/** The name of the call that every inspector answers. */
export const CALL = 'wshub:inspector'
/** The most pages that one process serves at a time. */
export const MAX_PAGES = 8
const SNAPSHOT_MS = 1_000

/** An action of an operator: the message of the diagnostics channel `wshub:inspector:action`. */
export interface InspectorAction {
  readonly hub: Hub<object>
  readonly action: 'send' | 'disconnect'
  /** The name of a room, or the id of a connection. */
  readonly target: string
  /** The upgrade request of the page, to tell who it was. */
  readonly request: IncomingMessage
}

const actions = channel('wshub:inspector:action')

interface Page {
  /** Distinguishes messages of the inspector from what the application sends to everyone. */
  readonly token: string
  readonly search: string
}

/** Sends one snapshot of the cluster a second to all pages, while there are any. */
export class Feed {
  readonly #hub: Hub<object>
  readonly #report: NodeReport
  readonly #pages = new Map<Connection<object>, Page>()
  #timer: NodeJS.Timeout | undefined
  #isAsking = false

  constructor(hub: Hub<object>, report: NodeReport) {
    this.#hub = hub
    this.#report = report
  }

  get isFull(): boolean {
    return this.#report.pages.size >= MAX_PAGES
  }

  /** Returns the handler of a page's WebSocket. */
  handler(request: IncomingMessage, permissions: ReturnType<typeof readPermissions>): EventHandler<object> {
    return {
      onOpen: (connection) => {
        this.#report.pages.add(connection)
      },
      onMessage: async (connection, { data }) => {
        const { type, token, search, target, text } = fieldsOf(data)
        if (type === 'view') {
          this.#pages.set(connection, { token, search })
          this.#report.watch() // the first snapshot comes a second later
          this.#timer ??= setInterval(() => void this.#publish(), SNAPSHOT_MS).unref()
        } else if (type === 'disconnect' && permissions.disconnect) {
          this.#act(request, type, target)
          const { count } = await this.#hub.cluster.disconnect({ id: target }, 1000, 'closed by an operator')
          this.#tell(connection, { done: `${count} disconnected` })
        } else if (type === 'send' && permissions.send) {
          this.#act(request, type, target)
          this.#hub.broadcastToRoom(target, text)
          this.#tell(connection, { done: `sent to ${target}` })
        } else {
          this.#tell(connection, { done: 'not permitted' })
        }
      },
      onClose: (connection) => {
        this.#report.pages.delete(connection)
        this.#pages.delete(connection)
        if (this.#pages.size > 0) return
        clearInterval(this.#timer)
        this.#timer = undefined
      },
    }
  }

  #act(request: IncomingMessage, action: InspectorAction['action'], target: string): void {
    if (!actions.hasSubscribers) return
    actions.publish({ hub: this.#hub, action, target, request } satisfies InspectorAction)
  }

  #tell(connection: Connection<object>, message: object): void {
    const page = this.#pages.get(connection)
    if (page === undefined) return
    // A page that reads slowly gets fewer snapshots.
    connection.sendText(JSON.stringify({ token: page.token, ...message }), { volatile: true })
  }

  async #publish(): Promise<void> {
    if (this.#isAsking) return
    this.#isAsking = true
    const searches = [...new Set([...this.#pages.values()].map(({ search }) => search))]
    try {
      const { results, missing } = await this.#hub.cluster.call(CALL, JSON.stringify(searches))
      const reports = results.flatMap(({ value }) => (typeof value === 'string' ? [JSON.parse(value)] : []))
      for (const [connection, { search }] of this.#pages) {
        const at = searches.indexOf(search)
        if (at < 0) continue // asked for after the call began
        const nodes = reports.map(({ lists, ...node }) => ({ ...node, ...lists[at], roomCount: node.rooms }))
        this.#tell(connection, { nodes, missing })
      }
    } catch {
      // The hub is closing, or has too many calls: the next second tries again.
    } finally {
      this.#isAsking = false
    }
  }
}

function fieldsOf(data: string | Buffer): Record<'type' | 'token' | 'search' | 'target' | 'text', string> {
  let message: unknown
  try {
    message = JSON.parse(data.toString())
  } catch {
    message = undefined
  }
  const given = typeof message === 'object' && message !== null ? Object.entries(message) : []
  const texts = Object.fromEntries(given.filter(([, value]) => typeof value === 'string'))
  const { type = '', token = '', search = '', target = '', text = '' } = texts
  return { type, token: token.slice(0, 64), search: search.slice(0, 100), target, text }
}
