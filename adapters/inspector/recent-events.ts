import type { Hub } from 'wshub'
import { HubEvents } from '../observing/hub-events.ts'
import type { Traffic } from './traffic.ts'

/** The most events of one kind that are kept. */
const MAX_EVENTS = 200
/** The most characters of a text that is kept. */
const MAX_TEXT = 200

/** A connection that ended. */
export interface EndRow {
  /** In ms since the epoch. */
  readonly at: number
  readonly client: string
  readonly address: string
  readonly by: string
  readonly reason: string
  readonly code: number
  readonly openMs: number
  readonly error: string
}

/** An upgrade that was refused. */
export interface RefusalRow {
  readonly at: number
  readonly code: string
  readonly status: number
  /** Of the TCP connection: of a proxy, if there is one. */
  readonly peer: string
  readonly origin: string
}

/** Messages that were lost, or an error. */
export interface TextRow {
  readonly at: number
  readonly text: string
}

/** The events of a node since a page was opened. Of each kind, the latest. */
export class RecentEvents {
  readonly ends: EndRow[] = []
  readonly refusals: RefusalRow[] = []
  readonly gaps: TextRow[] = []
  readonly errors: TextRow[] = []
  readonly #hub: Hub<object>
  readonly #traffic: Traffic
  #events: HubEvents | undefined

  constructor(hub: Hub<object>, traffic: Traffic) {
    this.#hub = hub
    this.#traffic = traffic
  }

  start(): void {
    if (this.#events !== undefined || this.#hub.state === 'closed') return
    const events = new HubEvents(this.#hub, 'the inspector', () => this.#stopped())
    this.#events = events
    events.on('wshub:delivery', ({ rooms, recipients, bytes }) => {
      if (rooms !== undefined) this.#traffic.count(rooms, recipients, bytes)
    })
    events.on('wshub:close', ({ connection, cause }) => {
      const { by, reason, code, openMs, error } = cause
      const { id: client, remoteAddress: address = '' } = connection
      keep(this.ends, {
        at: Date.now(),
        client,
        address,
        by,
        reason,
        code,
        openMs,
        error: short(error?.message),
      })
    })
    events.on('wshub:upgrade:refused', ({ request, error: { code, status } }) => {
      const { remoteAddress: peer = '' } = request.socket
      keep(this.refusals, { at: Date.now(), code, status, peer, origin: short(request.headers.origin) })
    })
    events.on('wshub:gap', ({ gap: { node, scope, room, count } }) => {
      const receivers = { room: `the room ${room}`, everyone: 'everyone', direct: 'single clients' }[scope]
      keep(this.gaps, textRow(`${count} messages of node ${node} to ${receivers} were lost`))
    })
    events.on('wshub:behind', ({ connection: { id }, room }) => {
      keep(this.gaps, textRow(`${id} has lost messages of the room ${room}`))
    })
    events.on('wshub:error', ({ connection, error }) => {
      keep(this.errors, textRow(`${connection === undefined ? '' : `${connection.id}: `}${error.message}`))
    })
  }

  stop(): void {
    this.#events?.stop()
  }

  #stopped(): void {
    this.#events = undefined
    for (const events of [this.ends, this.refusals, this.gaps, this.errors]) events.length = 0
    this.#traffic.clear()
  }
}

function keep<Row>(events: Row[], row: Row): void {
  events.push(row)
  if (events.length > MAX_EVENTS) events.shift()
}

function textRow(text: string): TextRow {
  return { at: Date.now(), text: short(text) }
}

/** Anything may be thrown, and an error may have any message. */
function short(text: unknown): string {
  return typeof text === 'string' ? text.slice(0, MAX_TEXT) : ''
}
