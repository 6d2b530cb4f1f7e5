import type { BackplaneLife } from './backplane-life.ts'

/**
 * Most bytes that wait for the next turn: a test that publishes in an endless loop must not fill the heap.
 */
const MAX_WAITING_BYTES = 64 * 1024 * 1024

/** Memory that an item takes in addition to its bytes. */
const ITEM_OVERHEAD_BYTES = 256

/** One user of a bus in memory. */
export interface BusMember<Item> {
  /** Called when the bus was cut or restored, and once for a new member. */
  busChanged(): void
  receive(item: Item): void
}

/** The members of a bus in memory, which carries to all of them what each of them sends. */
export class BusMembers<Item> {
  readonly #members = new Set<BusMember<Item>>()
  #waiting: Item[] = []
  #waitingBytes = 0
  #isCut = false

  /** Whether {@link cut} was called, and {@link restore} was not. */
  get isCut(): boolean {
    return this.#isCut
  }

  /** Loses the items that wait; nothing is to be sent until {@link restore}. */
  cut(): void {
    if (this.#isCut) return
    this.#isCut = true
    this.#waiting = []
    this.#waitingBytes = 0
    this.#tell()
  }

  /** Ends a {@link cut}. */
  restore(): void {
    if (!this.#isCut) return
    this.#isCut = false
    this.#tell()
  }

  /** Adds a member. @returns a function that removes it */
  join(member: BusMember<Item>): () => void {
    this.#members.add(member)
    setImmediate(() => member.busChanged())
    return () => void this.#members.delete(member)
  }

  /** Delivers an item in a later turn, as an engine does. @returns `false` when too many bytes are waiting */
  send(item: Item, bytes: number): boolean {
    const size = bytes + ITEM_OVERHEAD_BYTES
    if (this.#waitingBytes + size > MAX_WAITING_BYTES) return false
    this.#waitingBytes += size
    if (this.#waiting.push(item) === 1) setImmediate(() => this.#deliver())
    return true
  }

  #tell(): void {
    for (const member of this.#members) member.busChanged()
  }

  #deliver(): void {
    const items = this.#waiting
    this.#waiting = []
    this.#waitingBytes = 0
    for (const item of items) for (const member of this.#members) member.receive(item)
  }
}

/** Changes the life of a member when its bus was cut or restored. */
export function followBus(life: BackplaneLife, isCut: boolean): void {
  if (isCut) {
    life.disconnected()
    return
  }
  for (const channel of life.channels.names()) life.channels.confirm(channel)
  life.connected()
}
