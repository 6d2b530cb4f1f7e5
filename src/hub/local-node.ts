import { channel } from 'node:diagnostics_channel'
import type { BackplaneState } from '../backplane/backplane.ts'
import { HubError } from '../base/errors.ts'
import { runHandler } from '../base/run-handler.ts'
import type { RunningHandlers } from '../base/running-handlers.ts'
import type { Gap } from '../cluster/gaps.ts'
import type { LocalHub, Recipients } from '../cluster/local-hub.ts'
import type { Selection } from '../cluster/wire/request.ts'
import type { Connection } from '../connection/connection.ts'
import type { Session } from '../connection/session.ts'
import { OutgoingMessage } from '../delivery/outgoing-message.ts'
import { History } from '../history/history.ts'
import type { DeliveredMessage, HistoryHost } from '../history/history-member.ts'
import type { Payload, SendOptions } from '../protocol/message.ts'
import { isTextFrame, payloadOf } from '../protocol/message-frame.ts'
import type { Sessions } from './sessions.ts'

const deliveryChannel = channel('wshub:delivery')
const EVERYONE: Recipients = { rooms: undefined, exceptIds: [], exceptRooms: [] }
const gapChannel = channel('wshub:gap')
const stateChannel = channel('wshub:cluster:state')

/**
 * A hub without the other nodes: sends to the connections of this process, and performs on them what its
 * cluster asks for.
 */
export class LocalNode<Meta extends object> implements LocalHub, HistoryHost {
  readonly #sessions: Sessions<Meta>
  /** `undefined` without the option. */
  readonly history: History | undefined

  constructor(sessions: Sessions<Meta>) {
    this.#sessions = sessions
    const { history, enableCompression, cluster } = sessions.options
    if (history !== undefined) {
      this.history = new History(history, enableCompression, cluster.roomGraceMs, this)
    }
  }

  get node(): string {
    return this.#sessions.node
  }

  get running(): RunningHandlers {
    return this.#sessions.running
  }

  get isOpen(): boolean {
    return this.#sessions.hub.state === 'open'
  }

  size(): { readonly connections: number; readonly rooms: number } {
    return { connections: this.#sessions.size, rooms: this.#sessions.rooms.size }
  }

  roomSize(rooms: readonly string[]): number {
    return this.#sessions.rooms.union(rooms).size
  }

  select({ by, names }: Selection): Connection<Meta>[] {
    if (by === 'all') return connectionsOf(this.#sessions)
    if (by === 'room') return connectionsOf(this.#sessions.rooms.union(names))
    return [...new Set(names)].flatMap((id) => this.#sessions.get(id)?.connection ?? [])
  }

  /** Reports all connections that a limit keeps out in one error: there may be thousands. */
  join(selection: Selection, rooms: readonly string[]): number {
    const connections = this.select(selection)
    let joined = 0
    let refused = 0
    let last: HubError | undefined
    for (const connection of connections) {
      try {
        if (this.#sessions.join(connection.id, rooms)) joined++
      } catch (error) {
        if (!(error instanceof HubError)) throw error
        last = error
        refused++
      }
    }
    if (last !== undefined) {
      const message = `${refused} of ${connections.length} connections did not join: ${last.message}`
      this.report(new HubError(last.code, message, { cause: last }))
    }
    return joined
  }

  leave(selection: Selection, rooms: readonly string[]): number {
    return this.select(selection).filter((connection) => this.#sessions.leave(connection.id, rooms)).length
  }

  disconnect(selection: Selection, code: number, reason: string): number {
    return disconnect(this.select(selection), code, reason)
  }

  broadcast(recipients: Recipients, data: Payload, options: SendOptions | undefined): number {
    const { rooms } = recipients
    const targets = rooms === undefined ? this.#sessions : this.#sessions.rooms.union(rooms)
    const accepted = this.#send(targets, targets.size, data, options, recipients)
    this.#sessions.meters.record('broadcastRecipients', accepted)
    return accepted
  }

  sendTo(id: string, data: Payload, options: SendOptions | undefined): boolean | undefined {
    const session = this.#sessions.get(id)
    return session === undefined ? undefined : this.#send([session], 1, data, options, id) > 0
  }

  get stored(): Promise<void> | undefined {
    return this.history?.settled
  }

  members(room: string): ReadonlySet<Session<Meta>> {
    return this.#sessions.rooms.members(room)
  }

  inRoom(member: object, room: string): boolean {
    const members: ReadonlySet<object> = this.members(room)
    return members.has(member)
  }

  roomsOf({ id }: { readonly id: string }): Iterable<string> {
    const session = this.#sessions.get(id)
    return session === undefined ? [] : this.#sessions.roomsOf(session)
  }

  delivering(message: OutgoingMessage, members: number): void {
    this.#sessions.delivery.windows?.begin(message, members)
  }

  delivered(recipients: number, { log, outgoing, exceptIds, exceptRooms }: DeliveredMessage): void {
    this.#sessions.meters.record('broadcastRecipients', recipients)
    this.#sessions.delivery.windows?.end()
    if (!deliveryChannel.hasSubscribers) return
    this.#tellDelivery(recipients, outgoing, { rooms: [log.room], exceptIds, exceptRooms })
  }

  /** @param to the id of one connection, or who was meant */
  #tellDelivery(recipients: number, { plain }: OutgoingMessage, to: string | Recipients): void {
    const id = typeof to === 'string' ? to : undefined
    const { rooms, exceptIds, exceptRooms } = typeof to === 'string' ? EVERYONE : to
    deliveryChannel.publish({
      hub: this.#sessions.hub,
      recipients,
      bytes: plain.length,
      id,
      rooms,
      exceptIds,
      exceptRooms,
      type: isTextFrame(plain) ? 'text' : 'binary',
      payload: payloadOf(plain),
    })
  }

  gapFound(gap: Gap): void {
    if (gapChannel.hasSubscribers) gapChannel.publish({ hub: this.#sessions.hub, gap })
    const { onGap } = this.#sessions.options.cluster
    if (onGap === undefined) return
    const pending = runHandler('the option onGap', () => onGap(gap), {
      failed: (error, where) => this.report(error, where),
    })
    this.running.watch(pending)
  }

  probeTook(ms: number): void {
    this.#sessions.meters.record('loopbackDuration', ms / 1_000)
  }

  stateChanged(state: BackplaneState): void {
    if (stateChannel.hasSubscribers) stateChannel.publish({ hub: this.#sessions.hub, state })
  }

  report(error: Error, where?: string): void {
    this.#sessions.reporter.report(error, { where })
  }

  #send(
    targets: Iterable<Session<Meta>>,
    size: number,
    data: Payload,
    options: SendOptions | undefined,
    to: string | Recipients,
  ): number {
    const isExcluded = typeof to === 'string' ? undefined : this.#exclusion(to)
    let message: OutgoingMessage | undefined
    let accepted = 0
    for (const session of targets) {
      if (isExcluded?.(session) === true) continue
      message ??= this.#begin(data, size)
      if (session.deliver(message, options)) accepted++
    }
    if (message !== undefined) {
      this.#sessions.delivery.windows?.end()
      if (deliveryChannel.hasSubscribers) this.#tellDelivery(accepted, message, to)
    }
    return accepted
  }

  #begin(data: Payload, receivers: number): OutgoingMessage {
    const message = new OutgoingMessage(data, this.#sessions.options.enableCompression)
    this.delivering(message, receivers)
    return message
  }

  /**
   * Returns a test for connections that do not receive a message; `undefined` when all connections here
   * receive it.
   */
  #exclusion({ exceptIds, exceptRooms }: Recipients): ((session: Identified) => boolean) | undefined {
    if (exceptIds.length === 0 && exceptRooms.length === 0) return undefined // most broadcasts
    const ids = new Set(exceptIds.filter((id) => this.#sessions.get(id) !== undefined))
    const rooms = exceptRooms
      .map((room): ReadonlySet<object> => this.#sessions.rooms.members(room))
      .filter(({ size }) => size > 0)
    if (ids.size === 0 && rooms.length === 0) return undefined
    return (session) => ids.has(session.id) || rooms.some((members) => members.has(session))
  }
}

/** A session, whatever its Meta: a parameter of type `Session<Meta>` would make `Hub<Meta>` invariant. */
interface Identified {
  readonly id: string
}

/** Starts the closing handshake of connections. @returns how many were open */
export function disconnect<Meta extends object>(
  connections: readonly Connection<Meta>[],
  code: number,
  reason: string,
): number {
  return connections.filter((connection) => connection.close(code, reason)).length
}

/** Returns the objects that applications hold. */
export function connectionsOf<Meta extends object>(sessions: Iterable<Session<Meta>>): Connection<Meta>[] {
  return Array.from(sessions, ({ connection }) => connection)
}
