import { oldestKeys } from '../base/eviction.ts'
import { type ChannelNames, EVERYONE } from './wire/channel-names.ts'
import type { Barrier } from './wire/envelope.ts'

/**
 * How many channels have a sequence at once. One that was forgotten begins again, in a new epoch that
 * receivers see.
 */
const MAX_SEQUENCES = 100_000

/** A call stays behind the messages of at most this many channels, those used last. */
const MAX_BARRIERS = 10_000
/** A message that was published longer ago has arrived, or is lost. */
const MAX_BARRIER_AGE_MS = 5_000

/** The sequence of what a node publishes on one channel. */
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
  /** When barriers were last published on this channel, in ms of `performance.now()`. */
  barriersAt: number
}

/** The sequences of all channels that a node publishes on. */
export class Sequences {
  readonly #channels: ChannelNames
  readonly #maxSequences: number
  readonly #rooms = new Map<string, OutgoingChannel>()
  readonly #nodes = new Map<string, OutgoingChannel>()
  /** The channels that calls have to stay behind, the one used last at the end. */
  readonly #recent = new Set<OutgoingChannel>()
  #epochs = 0
  /** The sequence of the control channel. */
  readonly control: OutgoingChannel

  constructor(channels: ChannelNames, maxSequences = MAX_SEQUENCES) {
    this.#channels = channels
    this.#maxSequences = maxSequences
    this.control = this.#begin(channels.control)
  }

  /** Returns the sequence of a room's channel, or of the channel for {@link EVERYONE}. */
  room(room: string): OutgoingChannel {
    return this.#rooms.get(room) ?? this.#add(this.#rooms, room, this.#channels.room(room))
  }

  /** Returns the sequence of a node's channel. */
  node(id: string): OutgoingChannel {
    return this.#nodes.get(id) ?? this.#add(this.#nodes, id, this.#channels.node(id))
  }

  /** Takes note of a message that the backplane has accepted. */
  accepted(channel: OutgoingChannel, sequence: number): void {
    channel.accepted = { sequence, at: performance.now() }
    this.#recent.delete(channel)
    this.#recent.add(channel)
    if (this.#recent.size <= MAX_BARRIERS) return
    for (const oldest of oldestKeys(this.#recent, MAX_BARRIERS)) this.#recent.delete(oldest)
  }

  /**
   * Returns the barriers that a call on a channel has to stay behind, without those of the calls before it.
   * @param now the time, in ms of `performance.now()`
   */
  barriers(channel: OutgoingChannel, now: number): Barrier[] {
    const since = Math.max(channel.barriersAt, now - MAX_BARRIER_AGE_MS)
    const barriers: Barrier[] = []
    for (const recent of this.#recent) {
      const { sequence, at } = recent.accepted
      if (at < now - MAX_BARRIER_AGE_MS) this.#recent.delete(recent)
      // Nothing overtakes on the same channel.
      if (at < since || recent === channel) continue
      barriers.push({ channel: recent.name, epoch: recent.epoch, sequence, ageMs: Math.floor(now - at) })
    }
    return barriers
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
