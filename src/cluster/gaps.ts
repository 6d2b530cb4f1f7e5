import { oldestKeys } from '../base/eviction.ts'
import type { Stamp } from './wire/envelope.ts'

/** Messages of another node that did not come. */
export interface Gap {
  /** The node that published them. */
  readonly node: string
  /** Whom they were for: the members of a room, all connections, or single connections of this node. */
  readonly scope: 'room' | 'everyone' | 'direct'
  /** The room; `undefined` in the other scopes. */
  readonly room: string | undefined
  /** How many. */
  readonly count: number
}

/** How many pairs of channel and publisher are followed at once. */
const MAX_FOLLOWED = 200_000

/** How far a publisher has been heard on a channel. */
interface Progress {
  epoch: number
  sequence: number
  /** Of the node's beats, the one of the latest message. */
  beat: number
}

/**
 * Finds what is missing in the counts of publishers, and what comes twice. The first message of a publisher on a channel
 * sets where its count begins.
 */
export class Gaps {
  readonly #maxFollowed: number
  readonly #channels = new Map<string, Map<string, Progress>>()
  #followed = 0

  constructor(maxFollowed = MAX_FOLLOWED) {
    this.#maxFollowed = maxFollowed
  }

  /** How many pairs of channel and publisher are followed. */
  get size(): number {
    return this.#followed
  }

  /**
   * Takes note of an envelope.
   * @param isCounted whether it has a number of its own; otherwise it tells how far the count is
   * @returns how many that came before it are missing; `repeated` when it arrived before, or was reported as missing
   */
  follow(
    channel: string,
    { node, epoch, sequence }: Stamp,
    isCounted: boolean,
    beat: number,
  ): number | 'repeated' {
    const publishers = this.#channels.get(channel)
    const heard = publishers?.get(node)
    if (heard === undefined) {
      if (sequence === 0) return 0 // a checkpoint of a node that has published nothing
      this.#begin(channel, publishers, node, { epoch, sequence, beat })
      return 0
    }
    heard.beat = beat
    if (epoch !== heard.epoch) {
      if (epoch < heard.epoch) return 'repeated'
      heard.epoch = epoch
      heard.sequence = 0
    }
    const missing = sequence - heard.sequence - (isCounted ? 1 : 0)
    if (missing < 0) return isCounted ? 'repeated' : 0
    heard.sequence = sequence
    return missing
  }

  /** Whether that message has come or is reported as missing; `undefined` when nothing of its publisher was followed there. */
  has(channel: string, { node, epoch, sequence }: Stamp): boolean | undefined {
    const heard = this.#channels.get(channel)?.get(node)
    if (heard === undefined) return undefined
    return heard.epoch > epoch || (heard.epoch === epoch && heard.sequence >= sequence)
  }

  /** Forgets a channel: it is no longer listened to. */
  leave(channel: string): void {
    const publishers = this.#channels.get(channel)
    if (publishers === undefined) return
    this.#followed -= publishers.size
    this.#channels.delete(channel)
  }

  /** Forgets publishers that are gone. */
  forget(isGone: (node: string, heardAt: number) => boolean): void {
    for (const [channel, publishers] of this.#channels) {
      for (const [node, { beat: at }] of publishers) {
        if (isGone(node, at) && publishers.delete(node)) this.#followed--
      }
      if (publishers.size === 0) this.#channels.delete(channel)
    }
  }

  #begin(
    channel: string,
    publishers: Map<string, Progress> | undefined,
    node: string,
    heard: Progress,
  ): void {
    if (publishers === undefined) this.#channels.set(channel, new Map([[node, heard]]))
    else publishers.set(node, heard)
    this.#followed++
    if (this.#followed > this.#maxFollowed) this.#forgetOldest()
  }

  #forgetOldest(): void {
    if (this.#channels.size > 1) {
      const most = Math.min(this.#maxFollowed, this.#channels.size - 1)
      for (const channel of oldestKeys(this.#channels, most)) this.leave(channel)
      return
    }
    for (const publishers of this.#channels.values()) {
      for (const node of oldestKeys(publishers, this.#maxFollowed)) {
        if (publishers.delete(node)) this.#followed--
      }
    }
  }
}
