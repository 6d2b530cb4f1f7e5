/**
 * Most bytes that wait for the next turn: a test that publishes in an endless loop must not fill the heap.
 */
const MAX_WAITING_BYTES = 64 * 1024 * 1024

/** Memory that a message takes in addition to its bytes. */
const MESSAGE_OVERHEAD_BYTES = 256

/** A backplane, as its bus uses it. */
export interface BusMember {
  /** Called when the bus was cut or restored, and once for a new member. */
  busChanged(): void
  receive(channel: string, bytes: Buffer): void
}

/** The bus, as one of its members uses it. */
export interface BusSeat {
  /** Delivers in a later turn, as an engine does. @returns `false` when too many bytes are waiting */
  send(channel: string, bytes: Uint8Array): boolean
  leave(): void
}

/** Joins the {@link MemoryBackplane}s of one process. */
export class MemoryBus {
  readonly #members = new Set<BusMember>()
  #waiting: { readonly channel: string; readonly bytes: Buffer }[] = []
  #waitingBytes = 0
  #isCut = false

  /** Whether {@link cut} was called, and {@link restore} was not. */
  get isCut(): boolean {
    return this.#isCut
  }

  /**
   * Behaves like an engine that cannot be reached: backplanes are `reconnecting`, and undelivered messages
   * are lost.
   */
  cut(): void {
    if (this.#isCut) return
    this.#isCut = true
    this.#waiting = []
    this.#waitingBytes = 0
    this.#tellMembers()
  }

  /** Ends a {@link cut}: backplanes are `connected` again. */
  restore(): void {
    if (!this.#isCut) return
    this.#isCut = false
    this.#tellMembers()
  }

  /** Adds a member. @internal */
  join(member: BusMember): BusSeat {
    this.#members.add(member)
    setImmediate(() => member.busChanged())
    return {
      send: (channel, bytes) => this.#send(channel, bytes),
      leave: () => void this.#members.delete(member),
    }
  }

  #tellMembers(): void {
    for (const member of this.#members) member.busChanged()
  }

  #send(channel: string, bytes: Uint8Array): boolean {
    const size = bytes.byteLength + MESSAGE_OVERHEAD_BYTES
    if (this.#waitingBytes + size > MAX_WAITING_BYTES) return false
    this.#waitingBytes += size
    if (this.#waiting.push({ channel, bytes: Buffer.from(bytes) }) === 1) setImmediate(() => this.#deliver())
    return true
  }

  #deliver(): void {
    const messages = this.#waiting
    this.#waiting = []
    this.#waitingBytes = 0
    for (const { channel, bytes } of messages) {
      for (const member of this.#members) member.receive(channel, bytes)
    }
  }
}
