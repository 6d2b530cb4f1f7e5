import { type BusMember, BusMembers } from './bus-members.ts'

/** A message between backplanes in memory. */
export interface BusMessage {
  readonly channel: string
  readonly bytes: Buffer
}

/** Joins the {@link MemoryBackplane}s of one process. */
export class MemoryBus {
  readonly #members = new BusMembers<BusMessage>()

  /** Whether {@link cut} was called, and {@link restore} was not. */
  get isCut(): boolean {
    return this.#members.isCut
  }

  /**
   * Behaves like an engine that cannot be reached: backplanes are `reconnecting`, and undelivered messages
   * are lost.
   */
  cut(): void {
    this.#members.cut()
  }

  /** Ends a {@link cut}: backplanes are `connected` again. */
  restore(): void {
    this.#members.restore()
  }

  /** Adds a member. @returns a function that removes it. @internal */
  join(member: BusMember<BusMessage>): () => void {
    return this.#members.join(member)
  }

  /**
   * Delivers in a later turn, as an engine does.
   * @returns `false` when too many bytes are waiting
   * @internal
   */
  send(channel: string, bytes: Uint8Array): boolean {
    return this.#members.send({ channel, bytes: Buffer.from(bytes) }, bytes.byteLength)
  }
}
