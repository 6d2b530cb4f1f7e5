import type { Hub } from 'wshub'
import { HubEvents } from '../observing/hub-events.ts'

/** The most events of one kind that are kept. */
const MAX_EVENTS = 200
/** The most characters of a text that is kept. */
const MAX_TEXT = 200
/** Time, in ms, without a question after which nothing is collected any more. */
const IDLE_MS = 5_000

/** Something that happened in a node, as a page shows it. */
export interface RecentEvent {
  /** In ms since the epoch. */
  readonly at: number
  readonly text: string
}

/** The latest ends, refusals and gaps of a node, collected only while somebody asks for them. */
export class RecentEvents {
  readonly ends: RecentEvent[] = []
  readonly refusals: RecentEvent[] = []
  readonly gaps: RecentEvent[] = []
  readonly #hub: Hub<object>
  #events: HubEvents | undefined
  #idle: NodeJS.Timeout | undefined

  constructor(hub: Hub<object>) {
    this.#hub = hub
  }

  /** Collects from now on, until nobody has called this for some seconds. */
  watch(): void {
    if (this.#hub.state === 'closed') return
    if (this.#idle !== undefined) {
      this.#idle.refresh()
      return
    }
    this.#idle = setTimeout(() => this.#events?.stop(), IDLE_MS).unref()
    const events = new HubEvents(this.#hub, 'the inspector', () => this.#stopped())
    this.#events = events
    events.on('wshub:close', ({ connection, cause }) => {
      const { by, reason, code, openMs } = cause
      const seconds = (openMs / 1_000).toFixed(1)
      const from = connection.remoteAddress ?? 'no address'
      keep(
        this.ends,
        `${connection.id} (${from}) ${reason} by ${by}, code ${code}, after ${seconds} s${
          cause.error === undefined ? '' : `: ${cause.error.message}`
        }`,
      )
    })
    events.on('wshub:upgrade:refused', ({ request, error }) => {
      const { origin = 'no origin' } = request.headers
      keep(this.refusals, `${error.code} (${error.status}) ${request.socket.remoteAddress ?? ''} ${origin}`)
    })
    events.on('wshub:gap', ({ gap }) => keep(this.gaps, JSON.stringify(gap)))
  }

  #stopped(): void {
    clearTimeout(this.#idle)
    this.#idle = undefined
    this.#events = undefined
    for (const events of [this.ends, this.refusals, this.gaps]) events.length = 0
  }
}

function keep(events: RecentEvent[], text: string): void {
  events.push({ at: Date.now(), text: text.slice(0, MAX_TEXT) })
  if (events.length > MAX_EVENTS) events.shift()
}
