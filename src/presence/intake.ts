import type { PacedWork } from '../base/paced-work.ts'
import type { RoomDelta, RoomSnapshot } from '../cluster/wire/presence-message.ts'
import type { PresenceRoom } from './presence-room.ts'

/** The most messages, and members in them, that wait for a share of a room that is being changed. */
const MAX_WAITING = 100_000

/** Steps that change a node's share of a room. */
type Change = Generator<number, unknown>

/** Changes of a node's share of a room that wait until an earlier one is done. */
interface Queue {
  readonly changes: (() => Change)[]
  size: number
}

/** The exchange with the other nodes, as the intake uses it. */
export interface IntakeHost {
  /** A change of a room was made. @param isWhole `false` when something of the node is missing now */
  taken(node: string, room: PresenceRoom, isWhole: boolean): void
}

/**
 * Takes over what other nodes say of rooms, in order. Small changes are made at once, large ones bit by bit:
 * what the same node says of the same room meanwhile waits.
 */
export class Intake {
  readonly #work: PacedWork
  readonly #host: IntakeHost
  readonly #open = new Map<PresenceRoom, Map<string, Queue>>()

  constructor(work: PacedWork, host: IntakeHost) {
    this.#work = work
    this.#host = host
  }

  /** Takes changes of a node. */
  delta(node: string, room: PresenceRoom, delta: RoomDelta): void {
    this.#take(node, room, delta, () => room.applying(node, delta))
  }

  /** Takes all members of a node. @param clock its latest version of any room at that time */
  snapshot(node: string, room: PresenceRoom, snapshot: RoomSnapshot, clock: number): void {
    this.#take(node, room, snapshot, () => room.replacing(node, snapshot, clock))
  }

  /** Removes a node from a room, as a part of some paced work. */
  *forgetting(node: string, room: PresenceRoom): Generator<number, void> {
    const steps = room.forgetting(node)
    const { done, value } = steps.next()
    if (done !== true) {
      yield* this.#inTurns(node, room, steps, value)
      return
    }
    this.#host.taken(node, room, true)
    yield value
  }

  close(): void {
    this.#open.clear()
  }

  #take(
    node: string,
    room: PresenceRoom,
    { version, members }: RoomSnapshot,
    change: () => Generator<number, boolean>,
  ): void {
    const queue = this.#open.get(room)?.get(node)
    if (queue !== undefined) {
      queue.size += 1 + members.length
      // What is dropped is missing at the end, and asked for.
      if (queue.size > MAX_WAITING) room.announced(node, version)
      else queue.changes.push(change)
      return
    }
    const steps = change()
    const first = steps.next()
    if (first.done === true) this.#host.taken(node, room, first.value)
    else this.#work.add(this.#inTurns(node, room, steps, first.value))
  }

  /** Does the rest of a change, then what waits for it. */
  #inTurns(node: string, room: PresenceRoom, steps: Change, done: number): Generator<number, void> {
    const queue: Queue = { changes: [], size: 0 }
    const queues = this.#open.get(room)
    if (queues === undefined) this.#open.set(room, new Map([[node, queue]]))
    else queues.set(node, queue)
    room.begin(node)
    return this.#through(node, room, steps, done, queue)
  }

  *#through(
    node: string,
    room: PresenceRoom,
    steps: Change,
    done: number,
    { changes }: Queue,
  ): Generator<number, void> {
    yield done
    yield* steps
    for (const change of changes) yield* change() // including those that come meanwhile
    const queues = this.#open.get(room)
    queues?.delete(node)
    if (queues?.size === 0) this.#open.delete(room)
    room.end(node)
    this.#host.taken(node, room, !room.isBehind(node))
  }
}
