import { type Channels, EVERYONE } from './channels.ts'
import { oldestKeys } from './oldest.ts'

/** How many channels a node counts for at once. A count that is forgotten begins anew, which receivers are told. */
const MAX_SEQUENCES = 100_000

/** What a node has published on one channel. */
export interface Sequence {
  readonly channel: string
  /** Higher for each count that the node has begun. */
  readonly run: number
  /** How many were published, or would have been but for the backplane. */
  number: number
  /** Of the node's beats, the one of the latest message. */
  usedAt: number
}

/** Numbers what a node publishes, for each channel. */
export class Sequences {
  readonly #channels: Channels
  readonly #maxSequences: number
  readonly #rooms = new Map<string, Sequence>()
  readonly #nodes = new Map<string, Sequence>()
  #runs = 0
  /** That of the control channel. */
  readonly control: Sequence

  constructor(channels: Channels, maxSequences = MAX_SEQUENCES) {
    this.#channels = channels
    this.#maxSequences = maxSequences
    this.control = this.#begin(channels.control)
  }

  /** That of a room's channel, or of {@link EVERYONE}'s. */
  room(room: string): Sequence {
    return this.#rooms.get(room) ?? this.#add(this.#rooms, room, this.#channels.room(room))
  }

  /** That of the channel of another node. */
  node(id: string): Sequence {
    return this.#nodes.get(id) ?? this.#add(this.#nodes, id, this.#channels.node(id))
  }

  /** Those on which something was published at that beat or later, control excepted. */
  usedSince(beat: number): Sequence[] {
    const used: Sequence[] = []
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

  #add(sequences: Map<string, Sequence>, name: string, channel: string): Sequence {
    if (sequences.size >= this.#maxSequences) this.#forgetOldest(sequences)
    const sequence = this.#begin(channel)
    sequences.set(name, sequence)
    return sequence
  }

  /** EVERYONE's is in use wherever anything is: it goes to the end. */
  #forgetOldest(sequences: Map<string, Sequence>): void {
    const everyone = sequences.get(EVERYONE)
    if (everyone !== undefined && sequences.delete(EVERYONE)) sequences.set(EVERYONE, everyone)
    for (const name of oldestKeys(sequences, this.#maxSequences)) sequences.delete(name)
  }

  #begin(channel: string): Sequence {
    return { channel, run: ++this.#runs, number: 0, usedAt: 0 }
  }
}
