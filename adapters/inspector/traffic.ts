/** The most rooms whose messages are counted at a time. */
const MAX_ROOMS = 20_000

/** The messages to a room in a second, to the connections of one node. */
export interface RoomTraffic {
  readonly messages: number
  /** Each message once for each recipient. */
  readonly deliveries: number
  readonly bytes: number
}

const NONE: RoomTraffic = { messages: 0, deliveries: 0, bytes: 0 }

/** Counts what is delivered to each room, while a page is open. */
export class Traffic {
  #counts = new Map<string, { messages: number; deliveries: number; bytes: number }>()
  #latest: ReadonlyMap<string, RoomTraffic> = new Map()
  #seconds = 1
  #left = 0
  #latestLeft = 0

  /** Counts a message to the union of several rooms for each of them. */
  count(rooms: readonly string[], recipients: number, bytes: number): void {
    if (recipients === 0) return
    for (const room of rooms) {
      let count = this.#counts.get(room)
      if (count === undefined) {
        if (this.#counts.size >= MAX_ROOMS) {
          this.#left += recipients
          continue
        }
        count = { messages: 0, deliveries: 0, bytes: 0 }
        this.#counts.set(room, count)
      }
      count.messages++
      count.deliveries += recipients
      count.bytes += recipients * bytes
    }
  }

  /** Begins a new period; what was counted in the last one is what is shown from now on. */
  turn(seconds: number): void {
    this.#latest = this.#counts
    this.#counts = new Map()
    this.#latestLeft = this.#left
    this.#left = 0
    this.#seconds = seconds
  }

  /** Deliveries a second, in the last period, to rooms above the most. */
  get uncounted(): number {
    return Math.round(this.#latestLeft / this.#seconds)
  }

  /** Returns a weight of a room: the bytes of the last period. */
  bytesOf(room: string): number {
    return this.#latest.get(room)?.bytes ?? 0
  }

  /** Returns the traffic of a room in the last period. */
  of(room: string): RoomTraffic {
    const counted = this.#latest.get(room)
    if (counted === undefined) return NONE
    const perSecond = (value: number) => Math.round((value / this.#seconds) * 10) / 10
    return {
      messages: perSecond(counted.messages),
      deliveries: perSecond(counted.deliveries),
      bytes: perSecond(counted.bytes),
    }
  }

  clear(): void {
    this.#counts = new Map()
    this.#latest = new Map()
    this.#left = 0
    this.#latestLeft = 0
  }
}
