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
interface Heard {
  run: number
  number: number
  /** Of the node's beats, the one of the latest message. */
  at: number
}

/**
 * Finds what is missing in the counts of publishers, and what comes twice. The first message of a publisher on a channel
 * sets where its count begins.
 */
export class Gaps {
  readonly #maxFollowed: number
  readonly #channels = new Map<string, Map<string, Heard>>()
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
   * @returns how many that came before it are missing; -1 when it has come before or is reported as missing already
   */
  follow(channel: string, { node, run, number }: Stamp, isCounted: boolean, beat: number): number {
    const publishers = this.#channels.get(channel)
    const heard = publishers?.get(node)
    if (heard === undefined) {
      if (number === 0) return 0 // a mark of a node that has published nothing
      this.#begin(channel, publishers, node, { run, number, at: beat })
      return 0
    }
    heard.at = beat
    if (run !== heard.run) {
      if (run < heard.run) return -1
      heard.run = run
      heard.number = 0
    }
    const missing = number - heard.number - (isCounted ? 1 : 0)
    if (missing < 0) return isCounted ? -1 : 0
    heard.number = number
    return missing
  }

  /** Whether that message has come or is reported as missing; `undefined` when nothing of its publisher was followed there. */
  has(channel: string, { node, run, number }: Stamp): boolean | undefined {
    const heard = this.#channels.get(channel)?.get(node)
    if (heard === undefined) return undefined
    return heard.run > run || (heard.run === run && heard.number >= number)
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
      for (const [node, { at }] of publishers) {
        if (isGone(node, at) && publishers.delete(node)) this.#followed--
      }
      if (publishers.size === 0) this.#channels.delete(channel)
    }
  }

  #begin(channel: string, publishers: Map<string, Heard> | undefined, node: string, heard: Heard): void {
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
