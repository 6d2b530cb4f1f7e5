import { DueQueue } from '../base/due-queue.ts'
import type { PacedWork } from '../base/paced-work.ts'
import type { PresenceRoom } from './presence-room.ts'
import type { RoomMember } from './room-member.ts'

/** Members whose grace period is over are looked at in steps of so many. */
const MEMBERS_PER_STEP = 1_000

/** Members of a room who have no connection there any more. */
export interface Departure {
  readonly room: PresenceRoom
  /** When their grace period ends, in ms of `performance.now()`. */
  readonly at: number
  readonly members: RoomMember[]
  /** Members of the room that are still to be looked at, before the grace period begins. */
  unseen: number
}

/** The presence around those who leave. */
export interface DeparturesHost {
  /** The grace period of a room's members is over. @param haveLeft whether any of them did not come back */
  departed(room: PresenceRoom, at: number, haveLeft: boolean): void
}

/** Users without a connection, and rooms without any, for as long as they may be needed again. */
export class Departures {
  readonly #graceMs: number
  readonly #work: PacedWork
  readonly #host: DeparturesHost
  readonly #due: DueQueue<Departure>
  /** The departures of rooms whose changes take several turns: all of them leave together. */
  readonly #open = new Map<PresenceRoom, Departure>()

  constructor(graceMs: number, work: PacedWork, host: DeparturesHost) {
    this.#graceMs = graceMs
    this.#work = work
    this.#host = host
    this.#due = new DueQueue(graceMs, (departure) => this.#work.add(this.#depart(departure)))
  }

  /** Returns the departure of those who are found to have left a room now. */
  of(room: PresenceRoom): Departure {
    const open = this.#open.get(room)
    if (open !== undefined) return open
    return { room, at: performance.now() + this.#graceMs, members: [], unseen: room.touched }
  }

  /** So many members of a room were looked at. */
  looked(departure: Departure, count: number): void {
    if (count === 0) return
    const { room, members } = departure
    departure.unseen -= count
    if (departure.unseen > 0 && room.touched > 0) {
      this.#open.set(room, departure)
      return
    }
    this.#open.delete(room)
    if (members.length > 0) this.#due.add(departure)
  }

  /** Nobody needs a room any more. @returns when it may be dropped, in ms of `performance.now()` */
  idle(room: PresenceRoom): number {
    const at = performance.now() + this.#graceMs
    this.#due.add({ room, at, members: [], unseen: 0 })
    return at
  }

  /** The room is not followed any more. */
  forget(room: PresenceRoom): void {
    this.#open.delete(room)
  }

  close(): void {
    this.#due.close()
    this.#open.clear()
  }

  /** The room tells nothing meanwhile, so that all leave in one change. */
  *#depart({ room, members, at }: Departure): Generator<number, void> {
    let haveLeft = false
    let looked = 0
    room.hold()
    for (const member of members) {
      haveLeft = room.leave(member, at) || haveLeft
      if (++looked % MEMBERS_PER_STEP === 0) yield MEMBERS_PER_STEP
    }
    room.release()
    this.#host.departed(room, at, haveLeft)
    yield looked % MEMBERS_PER_STEP
  }
}
