import { hostname } from 'node:os'
import { type EventLoopUtilization, performance } from 'node:perf_hooks'
import type { CloseCount, Connection, Hub } from 'wshub'
import { type FollowedReport, Followers } from './followers.ts'
import type { InspectorOptions } from './inspector-options.ts'
import { Listing, type Lists, NO_LISTS, type RoomRow, SLICE_MS } from './listing.ts'
import type { OptionErrors } from './option-errors.ts'
import { type Query, type Question, readQuestions } from './query.ts'
import { type EndRow, RecentEvents, type RefusalRow, type TextRow } from './recent-events.ts'
import { Traffic } from './traffic.ts'

/** The most events of each kind in one report. */
const MAX_EVENTS = 25
/** Time, in ms, for which rates are counted, and lists are shown to all who ask the same. */
const PERIOD_MS = 900
/** Time for which a list is shown, over the time that it took to make it: 0.25 % of a core at most. */
const REST = 400
/** Time, in ms, without a question after which nothing is collected any more. */
const IDLE_MS = 10_000
/** The most lists that are kept for others who ask the same. */
const MAX_LISTS = 64

/** The share of the largest message between nodes that the three lists of all questions take. */
const LISTS_SHARE = 0.7

/** Time, in ms, after which unfinished lists are abandoned if nobody has asked for them. */
const FORGOTTEN_MS = 4_000

/** Lists for one query. */
interface Kept {
  lists: Lists
  until: number
  askedAt: number
  isBeingMade: boolean
}

/** The load of a node in the last period. */
export interface Load {
  /** Of one core. */
  readonly cpuPercent: number
  /** The share of time in which the event loop was busy. */
  readonly loopPercent: number
  readonly memoryBytes: number
  /** Messages a second. */
  readonly received: number
  readonly sent: number
}

/** The figures of a node, as it answers the pages. */
export interface NodeRow extends Load {
  readonly node: string
  readonly host: string
  readonly pid: number
  readonly state: string
  readonly cluster: string
  readonly connections: number
  readonly slow: number
  readonly rooms: number
  readonly bufferedBytes: number
  readonly dropped: Readonly<Record<string, number>>
  readonly refused: Readonly<Record<string, number>>
  readonly causes: readonly CloseCount[]
  /** Deliveries a second to rooms beyond those that are counted one by one. */
  readonly uncounted: number
}

/** The answer of a node to one question. */
export interface Reply extends Lists {
  /** The rooms that the question names. */
  readonly candidates: readonly RoomRow[]
  readonly followed: FollowedReport | undefined
}

/** The whole answer of a node. */
export interface Report {
  readonly row: NodeRow
  readonly replies: readonly Reply[]
  readonly ends: readonly EndRow[]
  readonly refusals: readonly RefusalRow[]
  readonly gaps: readonly TextRow[]
  readonly errors: readonly TextRow[]
}

/** The counters at the beginning of a period. */
interface Start {
  readonly at: number
  readonly cpu: NodeJS.CpuUsage
  readonly loop: EventLoopUtilization
  readonly received: number
  readonly sent: number
}

const NO_LOAD: Load = { cpuPercent: 0, loopPercent: 0, memoryBytes: 0, received: 0, sent: 0 }

/** Describes one node. While nobody asks, it collects nothing, and has no timer. */
export class NodeReport {
  /** The WebSockets of pages in this process. */
  readonly pages = new Set<Connection<object>>()
  readonly #hub: Hub<object>
  readonly #traffic = new Traffic()
  readonly #events: RecentEvents
  readonly #followers: Followers
  readonly #listing: Listing
  readonly #lists = new Map<string, Kept>()
  #idle: NodeJS.Timeout | undefined
  #start: Start | undefined
  #load = NO_LOAD

  constructor(hub: Hub<object>, metadata: InspectorOptions['metadata'], errors: OptionErrors) {
    const isPage = (connection: Connection<object>) => this.pages.has(connection)
    this.#hub = hub
    this.#events = new RecentEvents(hub, this.#traffic)
    this.#followers = new Followers(hub, isPage)
    this.#listing = new Listing(hub, this.#traffic, metadata, errors, isPage)
  }

  /** Collects from now on, until nobody has called this for some seconds. */
  watch(): void {
    if (this.#hub.state === 'closed') return
    if (this.#idle !== undefined) {
      this.#idle.refresh()
      return
    }
    this.#idle = setTimeout(() => this.#stop(), IDLE_MS).unref()
    this.#events.start()
  }

  /** Answers the questions of a node. @param json as the inspector of that node has written them */
  answer(json: string): string {
    return JSON.stringify(this.read(readQuestions(json)))
  }

  read(questions: readonly Question[]): Report {
    this.watch()
    this.#followers.expire(IDLE_MS)
    const stats = this.#hub.stats()
    this.#turn(stats.receivedMessages, stats.sentMessages)
    const { node, state, cluster } = this.#hub.toJSON()
    const { ends, refusals, gaps, errors } = this.#events
    const { maxEnvelopeBytes } = this.#hub.options.cluster
    const maxBytes = Math.floor((maxEnvelopeBytes * LISTS_SHARE) / 3 / Math.max(1, questions.length))
    return {
      row: {
        node,
        host: hostname(),
        pid: process.pid,
        state,
        cluster,
        connections: stats.connections,
        slow: stats.slowConnections,
        rooms: stats.rooms,
        bufferedBytes: stats.bufferedBytes,
        dropped: Object.fromEntries(
          Object.entries(stats.dropped).map(([key, { messages }]) => [key, messages]),
        ),
        refused: Object.fromEntries(Object.entries(stats.refusedUpgrades)),
        causes: stats.closeCauses,
        uncounted: this.#traffic.uncounted,
        ...this.#load,
      },
      replies: questions.map((question) => ({
        ...this.#listsOf(question, maxBytes),
        candidates: this.#listing.named(question.candidates, maxBytes),
        followed: question.follow === undefined ? undefined : this.#followers.ask(question.follow),
      })),
      ends: ends.slice(-MAX_EVENTS),
      refusals: refusals.slice(-MAX_EVENTS),
      gaps: gaps.slice(-MAX_EVENTS),
      errors: errors.slice(-MAX_EVENTS),
    }
  }

  /** Visits all rooms and clients, once a period for all pages that show the same. */
  #listsOf({ search, roomOrder, roomPage, clientOrder, clientPage }: Query, maxBytes: number): Lists {
    const key = JSON.stringify([search, roomOrder, roomPage, clientOrder, clientPage, maxBytes])
    const now = performance.now()
    const known = this.#lists.get(key)
    if (known !== undefined && (known.isBeingMade || known.until > now)) {
      known.askedAt = now
      return known.lists
    }
    for (const [other, { until, isBeingMade }] of this.#lists) {
      if ((until <= now && !isBeingMade) || this.#lists.size >= MAX_LISTS) this.#lists.delete(other)
    }
    const kept = { lists: known?.lists ?? NO_LISTS, until: 0, askedAt: now, isBeingMade: true }
    this.#lists.set(key, kept)
    const query = { search, roomOrder, roomPage, clientOrder, clientPage }
    this.#make(key, kept, this.#listing.make(query, maxBytes), 0)
    return kept.lists
  }

  /** Makes lists in as many turns as it takes, with as much time between them, while somebody asks. */
  #make(key: string, kept: Kept, steps: Generator<undefined, Lists>, beforeMs: number): void {
    const start = performance.now()
    const { done, value } = steps.next()
    const now = performance.now()
    const tookMs = beforeMs + now - start
    if (done === true) {
      kept.lists = value
      kept.until = now + Math.max(PERIOD_MS, tookMs * REST)
      kept.isBeingMade = false
      return
    }
    setTimeout(() => {
      if (this.#lists.get(key) !== kept) return
      if (performance.now() - kept.askedAt > FORGOTTEN_MS) this.#lists.delete(key)
      else this.#make(key, kept, steps, tookMs)
    }, SLICE_MS).unref()
  }

  /** Begins a new period, if the last one is over. */
  #turn(received: number, sent: number): void {
    const at = performance.now()
    const last = this.#start
    if (last !== undefined && at - last.at < PERIOD_MS) return
    const loop = performance.eventLoopUtilization()
    this.#start = { at, cpu: process.cpuUsage(), loop, received, sent }
    if (last === undefined) return
    const seconds = (at - last.at) / 1_000
    const { user, system } = process.cpuUsage(last.cpu)
    this.#load = {
      cpuPercent: Math.round((user + system) / seconds / 10_000),
      loopPercent: Math.round(performance.eventLoopUtilization(loop, last.loop).utilization * 100),
      memoryBytes: process.memoryUsage.rss(),
      received: Math.round((received - last.received) / seconds),
      sent: Math.round((sent - last.sent) / seconds),
    }
    this.#traffic.turn(seconds)
  }

  #stop(): void {
    this.#idle = undefined
    this.#events.stop()
    this.#followers.stop()
    this.#lists.clear()
    this.#start = undefined
    this.#load = NO_LOAD
  }
}
