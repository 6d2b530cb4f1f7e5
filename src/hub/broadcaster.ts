import type { Link } from '../cluster/link.ts'
import type { History } from '../history/history.ts'
import { positionOf } from '../history/position.ts'
import { checkPayload, type Payload, type SendOptions } from '../protocol/message.ts'
import { type Audience, contentOf, type PublishOptions, readPublishing } from './audience.ts'
import type { LocalNode } from './local-node.ts'

/** Sends messages to many: to the connections here and on the other nodes, or by way of a history. */
export class Broadcaster<Meta extends object> {
  readonly #local: LocalNode<Meta>
  readonly #link: Link

  constructor(local: LocalNode<Meta>, link: Link) {
    this.#local = local
    this.#link = link
  }

  /**
   * Sends a message.
   * @returns how many connections of this process accepted it, or are meant to receive it once it is stored
   * @throws {HubError} WSHUB_ERR_INVALID_PAYLOAD
   */
  broadcast(audience: Audience, data: Payload, options: SendOptions | undefined): number {
    checkPayload(data)
    const { history } = this.#local
    const { rooms } = audience
    const isPlain = history === undefined || rooms === undefined || audience.isLocal
    const kept = isPlain || options?.volatile === true ? undefined : history.keptRooms(rooms)
    if (kept === undefined) return this.#send(audience, data, options)
    const meant = history?.broadcast(kept, contentOf(data, audience, options)) ?? 0
    const plain = rooms?.filter((room) => !kept.includes(room)) ?? []
    if (plain.length === 0) return meant
    const exceptRooms = [...audience.exceptRooms, ...kept]
    return meant + this.#send({ ...audience, rooms: plain, exceptRooms }, data, options)
  }

  /**
   * Stores a message in the history of a room.
   * @returns its position, once it is delivered to the members of this process
   * @throws {HubError} as a rejection: WSHUB_ERR_INVALID_PAYLOAD, WSHUB_ERR_INVALID_OPTION, or as
   *   {@link History.publish}
   */
  async publish(
    history: History,
    room: string,
    data: Payload,
    options: PublishOptions | undefined,
  ): Promise<{ position: string }> {
    const { exceptIds, exceptRooms } = readPublishing(options)
    checkPayload(data)
    const mark = await history.publish(room, contentOf(data, { exceptIds, exceptRooms }, options))
    return { position: positionOf(mark) }
  }

  /** Delivers locally first: the other nodes are a round trip away, and may be unreachable. */
  #send(audience: Audience, data: Payload, options: SendOptions | undefined): number {
    const accepted = this.#local.broadcast(audience, data, options)
    if (!audience.isLocal) this.#link.broadcast(audience, data, options)
    return accepted
  }
}
