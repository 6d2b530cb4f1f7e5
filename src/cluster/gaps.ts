import { oldestKeys } from '../base/eviction.ts'
import type { Stamp } from './wire/envelope.ts'

/** Messages of another node that did not arrive. */
export interface Gap {
  /** The node that published them. */
  readonly node: string
  /** Their receivers: the members of a room, all connections, or single connections of this node. */
  readonly scope: 'room' | 'everyone' | 'direct'
  /** The room; `undefined` in the other scopes. */
  readonly room: string | undefined
  /**
   * The number of messages. Lost changes of the presence of a room are among them, although they are asked
   * for again.
   */
  readonly count: number
}

/** The number of pairs of channel and publisher that are followed at once. */
const MAX_FOLLOWED = 200_000

/** The latest message of a publisher that arrived on a channel, or was reported as missing. */
interface Progress {
  epoch: number
  sequence: number
  /** The beat at which the publisher's latest envelope arrived. */
  beat: number
  /** Whether nothing has arrived since: the sequence begins with the next message, whatever its number. */
  isAssumed: boolean
}

/**
 * Finds missing and repeated messages by their sequence numbers. The first message of a publisher on a
 * channel sets where its sequence begins.
 */
export class Gaps {
  readonly #maxFollowed: number
  /** By channel and publisher. */
  readonly #channels = new Map<string, Map<string, Progress>>()
  #followed = 0

  constructor(maxFollowed = MAX_FOLLOWED) {
    this.#maxFollowed = maxFollowed
  }

  /** The number of pairs of channel and publisher that are followed. */
  get size(): number {
    return this.#followed
  }

  /**
   * Records an envelope.
   * @param isCounted whether it has a sequence number of its own; otherwise it carries the latest one
   * @returns how many messages before it are missing; `repeated` when it arrived before, or was reported as
   *   missing
   */
  follow(
    channel: string,
    { node, epoch, sequence }: Stamp,
    isCounted: boolean,
    beat: number,
  ): number | 'repeated' {
    const publishers = this.#channels.get(channel)
    const progress = publishers?.get(node)
    if (progress === undefined) {
      if (sequence === 0) return 0 // a checkpoint of a node that has published nothing
      this.#begin(channel, publishers, node, { epoch, sequence, beat, isAssumed: false })
      return 0
    }
    progress.beat = beat
    if (progress.isAssumed) {
      progress.isAssumed = false
      if (isAfter({ epoch, sequence }, progress)) {
        progress.epoch = epoch
        progress.sequence = sequence
        return 0
      }
    }
    if (epoch !== progress.epoch) {
      if (epoch < progress.epoch) return 'repeated'
      progress.epoch = epoch
      progress.sequence = 0
    }
    const missing = sequence - progress.sequence - (isCounted ? 1 : 0)
    if (missing < 0) return isCounted ? 'repeated' : 0
    progress.sequence = sequence
    return missing
  }

  /**
   * Records a message of a publisher that is not followed, which has arrived before the engine confirmed the
   * subscription, or is reported as missing. It and later ones may be older than the subscription: they are
   * missing only if they follow one that arrives.
   */
  assume(channel: string, { node, epoch, sequence }: Stamp, beat: number): void {
    this.#begin(channel, this.#channels.get(channel), node, { epoch, sequence, beat, isAssumed: true })
  }

  /**
   * Returns whether a message has arrived, or was reported as missing; `undefined` when its publisher is not
   * followed on the channel.
   */
  has(channel: string, stamp: Stamp): boolean | undefined {
    const progress = this.#channels.get(channel)?.get(stamp.node)
    if (progress === undefined) return undefined
    return !isAfter(stamp, progress) || (progress.isAssumed ? undefined : false)
  }

  /** Forgets a channel whose subscription has ended. */
  leave(channel: string): void {
    const publishers = this.#channels.get(channel)
    if (publishers === undefined) return
    this.#followed -= publishers.size
    this.#channels.delete(channel)
  }

  /** Forgets publishers. @param isGone is given the beat of the publisher's latest envelope */
  forget(isGone: (node: string, beat: number) => boolean): void {
    for (const [channel, publishers] of this.#channels) {
      for (const [node, { beat }] of publishers) {
        if (isGone(node, beat) && publishers.delete(node)) this.#followed--
      }
      if (publishers.size === 0) this.#channels.delete(channel)
    }
  }

  #begin(
    channel: string,
    publishers: Map<string, Progress> | undefined,
    node: string,
    progress: Progress,
  ): void {
    if (publishers?.has(node) !== true) this.#followed++
    if (publishers === undefined) this.#channels.set(channel, new Map([[node, progress]]))
    else publishers.set(node, progress)
    if (this.#followed > this.#maxFollowed) this.#forgetOldest()
  }

  #forgetOldest(): void {
    if (this.#channels.size > 1) {
      for (const channel of oldestKeys(this.#channels, this.#channels.size)) this.leave(channel)
      return
    }
    for (const publishers of this.#channels.values()) {
      for (const node of oldestKeys(publishers, this.#maxFollowed)) {
        if (publishers.delete(node)) this.#followed--
      }
    }
  }
}

function isAfter(
  a: { readonly epoch: number; readonly sequence: number },
  b: { readonly epoch: number; readonly sequence: number },
): boolean {
  return a.epoch > b.epoch || (a.epoch === b.epoch && a.sequence > b.sequence)
}
