import { oldestKeys } from '../base/eviction.ts'
import { type ChannelNames, EVERYONE } from './wire/channel-names.ts'
import type { Barrier } from './wire/envelope.ts'

/** How many channels a node counts for at once. A count that is forgotten begins anew, which receivers are told. */
const MAX_SEQUENCES = 100_000

/** How many channels a call stays behind, those that were used last. */
const MAX_BARRIERS = 10_000
/** What was published longer ago has come, or does not any more. */
const MAX_BARRIER_AGE_MS = 5_000

/** What a node has published on one channel. */
export interface OutgoingChannel {
  readonly name: string
  /** Higher for each count that the node has begun. */
  readonly epoch: number
  /** How many were published, or would have been but for the backplane. */
  sequence: number
  /** Of the node's beats, the one of the latest message. */
  usedAt: number
  /** The latest message that the backplane took: its number, and when, in ms of `performance.now()`. */
  accepted: { readonly sequence: number; readonly at: number }
  /** When barriers were last published on this channel; likewise in ms. */
  barriersAt: number
}

/** Numbers what a node publishes, for each channel. */
export class Sequences {
  readonly #channels: ChannelNames
  readonly #maxSequences: number
  readonly #rooms = new Map<string, OutgoingChannel>()
  readonly #nodes = new Map<string, OutgoingChannel>()
  /** Those that calls have to stay behind, the one that was used last at the end. */
  readonly #recent = new Set<OutgoingChannel>()
  #epochs = 0
  /** That of the control channel. */
  readonly control: OutgoingChannel

  constructor(channels: ChannelNames, maxSequences = MAX_SEQUENCES) {
    this.#channels = channels
    this.#maxSequences = maxSequences
    this.control = this.#begin(channels.control)
  }

  /** That of a room's channel, or of {@link EVERYONE}'s. */
  room(room: string): OutgoingChannel {
    return this.#rooms.get(room) ?? this.#add(this.#rooms, room, this.#channels.room(room))
  }

  /** That of the channel of another node. */
  node(id: string): OutgoingChannel {
    return this.#nodes.get(id) ?? this.#add(this.#nodes, id, this.#channels.node(id))
  }

  /** The backplane has taken a message. */
  accepted(channel: OutgoingChannel, sequence: number): void {
    channel.accepted = { sequence, at: performance.now() }
    this.#recent.delete(channel)
    this.#recent.add(channel)
    if (this.#recent.size <= MAX_BARRIERS) return
    for (const oldest of oldestKeys(this.#recent, MAX_BARRIERS)) this.#recent.delete(oldest)
  }

  /** What a call on a channel has to stay behind, but for what those before it stay behind already; `now` of `performance.now()`. */
  barriers(channel: OutgoingChannel, now: number): Barrier[] {
    const since = Math.max(channel.barriersAt, now - MAX_BARRIER_AGE_MS)
    const barriers: Barrier[] = []
    for (const recent of this.#recent) {
      const { sequence, at } = recent.accepted
      if (at < now - MAX_BARRIER_AGE_MS) this.#recent.delete(recent)
      // On one channel nothing overtakes anything.
      if (at < since || recent === channel) continue
      barriers.push({ channel: recent.name, epoch: recent.epoch, sequence, ageMs: Math.floor(now - at) })
    }
    return barriers
  }

  /** Those on which something was published at that beat or later, control excepted. */
  usedSince(beat: number): OutgoingChannel[] {
    const used: OutgoingChannel[] = []
    for (const sequences of [this.#rooms, this.#nodes]) {
      for (const sequence of sequences.values()) if (sequence.usedAt >= beat) used.push(sequence)
    }
    return used
  }

  /** Forgets those that were last used before that beat. */
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

  /** EVERYONE's is in use wherever anything is: it goes to the end. */
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
