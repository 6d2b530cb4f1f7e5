import { oldestKeys } from '../base/eviction.ts'
import { type ChannelNames, EVERYONE } from './wire/channel-names.ts'
import type { Barrier } from './wire/envelope.ts'

/**
 * The number of channels that have a sequence at once. One that was forgotten begins again, in a new epoch
 * that receivers see.
 */
const MAX_SEQUENCES = 100_000

/** A call follows the messages of at most this many channels, the most recently used. */
const MAX_BARRIERS = 10_000
/** A message that was published longer ago has arrived, or is lost. */
const MAX_BARRIER_AGE_MS = 5_000

/** The sequence of the envelopes that a node publishes on one channel. */
export interface OutgoingChannel {
  readonly name: string
  /** Higher for each sequence that the node has begun. */
  readonly epoch: number
  /** The number of the latest envelope, whether the backplane accepted it or not. */
  sequence: number
  /** The beat of the latest envelope. */
  usedAt: number
  /**
   * The latest message that the backplane accepted: its number, and the time in ms of `performance.now()`.
   */
  accepted: { readonly sequence: number; readonly at: number }
  /**
   * When barriers were last published on this channel, in ms of `performance.now()`; 0 = the next call
   * publishes all; `undefined` = it first says so by a checkpoint.
   */
  barriersAt: number | undefined
}

/** A message that the backplane accepted. */
interface AcceptedMessage {
  readonly channel: OutgoingChannel
  readonly sequence: number
  readonly at: number
}

/** The sequences of all channels that a node publishes on. */
export class Sequences {
  readonly #channels: ChannelNames
  readonly #maxSequences: number
  readonly #rooms = new Map<string, OutgoingChannel>()
  readonly #nodes = new Map<string, OutgoingChannel>()
  /** The messages that calls must not overtake, in their order, and earlier ones of the same channels. */
  #accepted: AcceptedMessage[] = []
  #epochs = 0
  /** The sequence of the control channel. */
  readonly control: OutgoingChannel

  constructor(channels: ChannelNames, maxSequences = MAX_SEQUENCES) {
    this.#channels = channels
    this.#maxSequences = maxSequences
    // From 1, since the number 0 of a heartbeat would not tell that the first envelope after it is missing.
    this.control = { ...this.#begin(channels.control), sequence: 1 }
  }

  /** Returns the sequence of a room's channel, or of the channel for {@link EVERYONE}. */
  room(room: string): OutgoingChannel {
    return this.#rooms.get(room) ?? this.#add(this.#rooms, room, this.#channels.room(room))
  }

  /** Returns the sequence of a node's channel. */
  node(id: string): OutgoingChannel {
    return this.#nodes.get(id) ?? this.#add(this.#nodes, id, this.#channels.node(id))
  }

  /** Records a message that the backplane has accepted. */
  accepted(channel: OutgoingChannel, sequence: number): void {
    const accepted = { channel, sequence, at: performance.now() }
    channel.accepted = accepted
    if (this.#accepted.push(accepted) < 2 * MAX_BARRIERS) return
    this.#accepted = this.#accepted.filter(isLatest).slice(-MAX_BARRIERS)
  }

  /**
   * Returns the barriers for a call on a channel, without those of the calls before it. The cost grows with
   * the messages that were published since, not with the number of channels.
   * @param now the time, in ms of `performance.now()`
   */
  barriers(channel: OutgoingChannel, now: number): Barrier[] {
    const since = Math.max(channel.barriersAt ?? 0, now - MAX_BARRIER_AGE_MS)
    const barriers: Barrier[] = []
    for (let i = this.#accepted.length - 1; i >= 0 && barriers.length < MAX_BARRIERS; i--) {
      const message = this.#accepted[i]
      if (message === undefined || message.at < since) break
      // Nothing overtakes on the same channel.
      if (message.channel === channel || !isLatest(message)) continue
      const { name, epoch } = message.channel
      const ageMs = Math.floor(now - message.at)
      barriers.push({ channel: name, epoch, sequence: message.sequence, ageMs })
    }
    return barriers.reverse() // the latest of a channel that was begun anew has to be the last
  }

  /**
   * Returns the channels on which something was published at that beat or later, without the control channel.
   */
  usedSince(beat: number): OutgoingChannel[] {
    const used: OutgoingChannel[] = []
    for (const sequences of [this.#rooms, this.#nodes]) {
      for (const sequence of sequences.values()) if (sequence.usedAt >= beat) used.push(sequence)
    }
    return used
  }

  /** Forgets the sequences that were last used before that beat. */
  forget(before: number): void {
    const since = performance.now() - MAX_BARRIER_AGE_MS
    this.#accepted = this.#accepted.filter(({ at }) => at >= since)
    for (const sequences of [this.#rooms, this.#nodes]) {
      for (const [name, { usedAt }] of sequences) if (usedAt < before) sequences.delete(name)
    }
  }

  #add(sequences: Map<string, OutgoingChannel>, name: string, channel: string): OutgoingChannel {
    if (sequences.size >= this.#maxSequences) this.#forgetOldest(sequences)
    const sequence = this.#begin(channel)
    sequences.set(name, sequence)
    return sequence
  }

  /** The channel for EVERYONE moves to the end first, since it is always in use. */
  #forgetOldest(sequences: Map<string, OutgoingChannel>): void {
    const everyone = sequences.get(EVERYONE)
    if (everyone !== undefined && sequences.delete(EVERYONE)) sequences.set(EVERYONE, everyone)
    for (const name of oldestKeys(sequences, this.#maxSequences)) sequences.delete(name)
  }

  #begin(channel: string): OutgoingChannel {
    return {
      name: channel,
      epoch: ++this.#epochs,
      sequence: 0,
      usedAt: 0,
      accepted: { sequence: 0, at: 0 },
      barriersAt: 0,
    }
  }
}

/** Whether the backplane has accepted nothing on the channel since. */
function isLatest(message: AcceptedMessage): boolean {
  return message.channel.accepted === message
}
