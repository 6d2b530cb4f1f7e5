import type { IncomingMessage } from 'node:http'
import type { Connection, EventHandler, Hub, Message } from 'wshub'
import { audit, type InspectorAction } from './audit.ts'
import type { Permitted } from './inspector-options.ts'
import type { NodeReport, Report } from './node-report.ts'
import {
  type Followed,
  membersOf,
  parsed,
  type Query,
  type Question,
  readFollowed,
  readQuery,
} from './query.ts'
import { snapshotOf } from './snapshot.ts'

/** The name of the call that every inspector answers. Another version of the answers has another name. */
export const CALL = 'wshub:inspector:1'
/** The most pages that one process serves at a time. */
const MAX_PAGES = 8
const SNAPSHOT_MS = 1_000
/** Time, in ms, for a page to say what it shows. A silent one takes the place of another. */
const FIRST_VIEW_MS = 5_000
/** Time, in ms, for the other nodes to answer: a page also shows a cluster in which some do not. */
const ANSWER_MS = 1_500
/** The share of the largest message between nodes that the names of rooms in a question take. */
const CANDIDATES_SHARE = 0.4
/** The most bytes of a message of a page. */
const MAX_MESSAGE_BYTES = 65_536
const TOO_BIG = 1009
const NO_VIEW = 1008

/** A page that is open. */
interface Page {
  /** Of the page's own making: distinguishes messages to it from what the application sends to everyone. */
  token: string
  query: Query
  followed: Followed | undefined
  /** The room or client that was followed when the nodes were last asked. */
  lastFollowed: Followed | undefined
  /** The rooms that nodes have listed for it. */
  candidates: readonly string[]
  readonly key: string
  readonly permitted: Permitted
  readonly request: IncomingMessage
}

/** Sends one snapshot of the cluster a second to each page, while there are any. */
export class Feed {
  readonly #hub: Hub<object>
  readonly #report: NodeReport
  readonly #pages = new Map<Connection<object>, Page>()
  #timer: NodeJS.Timeout | undefined
  #isAsking = false
  #askedAt = 0

  constructor(hub: Hub<object>, report: NodeReport) {
    this.#hub = hub
    this.#report = report
  }

  get isFull(): boolean {
    return this.#report.pages.size >= MAX_PAGES
  }

  /** Returns the handler of a page's WebSocket. */
  handler(request: IncomingMessage, permitted: Permitted): EventHandler<object> {
    let timer: NodeJS.Timeout | undefined
    return {
      onOpen: (connection) => {
        this.#report.pages.add(connection)
        timer = setTimeout(() => {
          if (!this.#pages.has(connection)) connection.close(NO_VIEW, 'no page of an inspector')
        }, FIRST_VIEW_MS).unref()
      },
      onMessage: async (connection, message) => {
        if (message.data.length > MAX_MESSAGE_BYTES) {
          connection.close(TOO_BIG, 'too big for an inspector')
          return
        }
        try {
          await this.#received(connection, message, request, permitted)
        } catch (error) {
          // An empty name, an id that is none, a hub that is closing: the operator sees why.
          this.#tell(connection, { done: error instanceof Error ? error.message : 'It has failed.' })
        }
      },
      onClose: (connection) => {
        clearTimeout(timer)
        this.#report.pages.delete(connection)
        this.#pages.delete(connection)
        if (this.#pages.size > 0) return
        clearInterval(this.#timer)
        this.#timer = undefined
      },
    }
  }

  async #received(
    connection: Connection<object>,
    { data }: Message,
    request: IncomingMessage,
    permitted: Permitted,
  ): Promise<void> {
    const { type, target, text, ...view } = membersOf(parsed(data.toString()))
    if (type === 'view') return this.#view(connection, view, request, permitted)
    if (typeof target !== 'string') return
    if (type === 'disconnect' && permitted.disconnect) {
      this.#audit(request, { action: type, kind: 'client', target })
      const reason = 'closed by an operator'
      const { count, missing } = await this.#hub.cluster.disconnect({ id: target }, 1000, reason)
      if (missing.length > 0) {
        this.#tell(connection, { done: `${target} may still be disconnected: no answer from`, missing })
      } else {
        this.#tell(connection, { done: count > 0 ? `Disconnected ${target}.` : `${target} is not there.` })
      }
    } else if (type === 'send' && permitted.send) {
      if (typeof text !== 'string') return this.#tell(connection, { done: 'The message is not a text.' })
      this.#audit(request, { action: type, kind: 'room', target })
      this.#hub.broadcastToRoom(target, text)
      this.#tell(connection, { done: `Sent to ${target}.` })
    } else if (type === 'send' || type === 'disconnect') {
      this.#tell(connection, { done: `You may not ${type}.` })
    }
  }

  #view(
    connection: Connection<object>,
    { token, query, follow }: Readonly<Record<string, unknown>>,
    request: IncomingMessage,
    permitted: Permitted,
  ): void {
    if (connection.state !== 'open' || typeof token !== 'string' || token === '') return
    let page = this.#pages.get(connection)
    if (page === undefined) {
      const key = connection.id
      page = {
        token: '',
        query: readQuery(query),
        followed: undefined,
        lastFollowed: undefined,
        candidates: [],
        key,
        permitted,
        request,
      }
      this.#pages.set(connection, page)
    }
    page.token = token.slice(0, 64)
    page.query = readQuery(query)
    page.followed = readFollowed(follow)
    this.#report.watch()
    this.#timer ??= setInterval(() => void this.#publish(), SNAPSHOT_MS).unref()
    if (performance.now() - this.#askedAt >= SNAPSHOT_MS) void this.#publish()
  }

  #audit(request: IncomingMessage, action: Omit<InspectorAction, 'hub' | 'request'>): void {
    audit({ hub: this.#hub, request, ...action })
  }

  /** Reports what a page follows from now on: however often it asks for something else, once a second. */
  #auditFollowed(page: Page): void {
    const { followed, lastFollowed: last, permitted, request } = page
    page.lastFollowed = followed
    if (followed === undefined) return
    if (followed.kind === last?.kind && followed.target === last.target) return
    this.#audit(request, { action: 'follow', ...followed, payloads: permitted.payloads })
  }

  #tell(connection: Connection<object>, message: object): void {
    const page = this.#pages.get(connection)
    if (page === undefined) return
    // A page that reads slowly gets fewer snapshots.
    connection.sendText(JSON.stringify({ token: page.token, ...message }), { volatile: true })
  }

  /** Returns as many names as all pages may ask for: a message between nodes has a limit. */
  #within(names: readonly string[]): string[] {
    let bytes = (this.#hub.options.cluster.maxEnvelopeBytes * CANDIDATES_SHARE) / MAX_PAGES
    return names.filter((name) => {
      bytes -= Buffer.byteLength(JSON.stringify(name))
      return bytes > 0
    })
  }

  async #publish(): Promise<void> {
    if (this.#isAsking) return
    this.#isAsking = true
    this.#askedAt = performance.now()
    for (const page of this.#pages.values()) this.#auditFollowed(page)
    // As of now: a page may ask for something else while the nodes answer.
    const asked = Array.from(this.#pages, ([connection, page]) => ({ connection, page, ...questionOf(page) }))
    const questions = [...new Map(asked.map(({ json, question }) => [json, question])).values()]
    const order = [...new Set(asked.map(({ json }) => json))]
    try {
      const { results, missing } = await this.#hub.cluster.call(CALL, JSON.stringify(questions), {
        timeoutMs: ANSWER_MS,
      })
      const reports: Report[] = []
      const without: string[] = []
      for (const { node, value } of results) {
        const report = typeof value === 'string' ? parsed(value) : undefined
        if (isReport(report)) reports.push(report)
        else without.push(node)
      }
      for (const { connection, page, question, json } of asked) {
        const { candidates, ...snapshot } = snapshotOf(reports, order.indexOf(json), question)
        page.candidates = this.#within(candidates)
        const { permitted: may, followed } = page
        const self = this.#hub.cluster.node
        this.#tell(connection, { ...snapshot, self, may, follow: followed ?? null, missing, without })
      }
    } catch {
      // The hub is closing, or has too many calls: the next second tries again.
    } finally {
      this.#isAsking = false
    }
  }
}

function questionOf(page: Page): { readonly question: Question; readonly json: string } {
  const { query, followed, candidates, key, permitted } = page
  const { payloads } = permitted
  const question = {
    ...query,
    candidates,
    follow: followed === undefined ? undefined : { ...followed, key, payloads },
  }
  return { question, json: JSON.stringify(question) }
}

/** Returns whether a node has answered; the name of the call says that the same version has written it. */
function isReport(value: unknown): value is Report {
  const { row, replies, ends, refusals, gaps, errors } = membersOf(value)
  return (
    typeof membersOf(row).node === 'string' &&
    [replies, ends, refusals, gaps, errors].every((list) => Array.isArray(list))
  )
}
