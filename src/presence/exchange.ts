import { type Deferred, deferred } from '../base/deferred.ts'
import { DueQueue } from '../base/due-queue.ts'
import { oldestKeys } from '../base/eviction.ts'
import type { PacedWork, Steps } from '../base/paced-work.ts'
import type { Link, LinkWatcher } from '../cluster/link.ts'
import { DIGEST_BYTES, type PresenceMessage, type RoomSnapshot } from '../cluster/wire/presence-message.ts'
import { Answers } from './answers.ts'
import { contentBytes, type ExchangeLimits } from './exchange-limits.ts'
import { Intake } from './intake.ts'
import type { PresenceRoom } from './presence-room.ts'
import { Questions } from './questions.ts'
import type { RoomTable } from './room-table.ts'

/** The most bytes of changes of a room in one message; the others follow in later turns. */
const MAX_DELTA_BYTES = 32_768
/** The most bytes of the rooms of one digest. */
const MAX_DIGEST_BYTES = 32_000
/** The most rooms whose changes wait for a digest; above it, the oldest are announced in rotation. */
const MAX_CHANGED = 100_000
/** The most nodes that are remembered as having left. */
const MAX_GONE = 1_000
/** Heartbeats after which a node that is not known to be alive counts as having left. */
const MAX_UNKNOWN_BEATS = 4

/** The presence of a hub, as its exchange with the other nodes uses it. */
export interface ExchangeHost {
  /** The id of this node. */
  readonly node: string
  /** The presence of a room may have changed. */
  changed(room: PresenceRoom): void
  /** Called at every heartbeat. */
  beat(): void
}

/**
 * Keeps the rooms of the nodes of a cluster equal: publishes the changes of this node, receives those of the
 * others, and finds out what did not arrive.
 */
export class Exchange implements LinkWatcher {
  readonly #link: Link
  readonly #rooms: RoomTable
  readonly #host: ExchangeHost
  readonly #limits: ExchangeLimits
  readonly #questions: Questions
  readonly #work: PacedWork
  readonly #intake: Intake
  readonly #answers: Answers
  /** Nodes that are being dropped from the rooms. */
  readonly #forgetting = new Map<string, Steps>()
  /** The latest version that this node has given to a room; the same count for all rooms. */
  #clock = 0
  /** Versions that no digest has announced yet, by the hash of the room. */
  readonly #changed = new Map<number, number>()
  /** Nodes that have left, whose late messages are ignored. */
  readonly #gone = new Set<string>()
  /** Nodes that have sent something, and for how many heartbeats they have been unknown. */
  readonly #nodes = new Map<string, number>()
  /** Callers that wait until a room is settled, each for the whole time limit. */
  readonly #waiting = new Map<PresenceRoom, Set<Deferred<boolean>>>()
  readonly #timeouts: DueQueue<{ readonly room: PresenceRoom; readonly waiting?: Deferred<boolean> }>

  constructor(link: Link, rooms: RoomTable, limits: ExchangeLimits, work: PacedWork, host: ExchangeHost) {
    this.#link = link
    this.#rooms = rooms
    this.#host = host
    this.#limits = limits
    this.#work = work
    this.#timeouts = new DueQueue(limits.callTimeoutMs, ({ room, waiting }) => {
      if (waiting === undefined) this.#release(room)
      else this.#timedOut(room, waiting)
    })
    this.#intake = new Intake(work, {
      taken: (node, room, isWhole) => {
        if (!isWhole) this.#questions.repair(node, room)
        this.#moved(room)
      },
    })
    this.#answers = new Answers(link, rooms, limits, work, {
      clock: () => this.#clock,
      publish: (room) => this.publish(room),
      changed: (room) => host.changed(room),
    })
    this.#questions = new Questions(link, rooms, limits, {
      snapshot: (node, room, snapshot, clock) => this.#replaced(node, room, snapshot, clock),
      answered: (room, isByAll) => {
        room.isAnswered = isByAll
        room.isHeld = false
        this.#moved(room)
      },
    })
    link.watch(this)
  }

  /** How many times a node was asked about a room of which something had not arrived. */
  get repaired(): number {
    return this.#questions.repaired
  }

  /** The room is followed from now on. */
  follow(room: PresenceRoom): void {
    room.isSettled = false
    room.isAnswered = false
    room.isHeld = this.#link.state !== 'closed'
    this.#timeouts.add({ room })
    this.#questions.ask(room)
  }

  /** The room is not followed any more. */
  unfollow(room: PresenceRoom): void {
    this.#questions.forget(room)
    this.#end(room, false)
  }

  /** Publishes what has changed in a room on this node, or the first part of it. */
  publish(room: PresenceRoom): void {
    if (!room.isUnsent || this.#answers.withholds(room)) return
    const delta = room.takeDelta(++this.#clock, contentBytes(this.#limits, MAX_DELTA_BYTES))
    if (delta === undefined) return
    // Announced in a digest even if the node is not connected now and the message is not sent.
    this.#changed.set(room.hash, delta.version)
    if (this.#changed.size > MAX_CHANGED) {
      for (const hash of oldestKeys(this.#changed, MAX_CHANGED)) this.#changed.delete(hash)
    }
    this.#link.tell({ room: room.name }, { op: 'delta', delta })
  }

  /** Resolves with `true` when a room is settled, with `false` when the time for that is over. */
  settled(room: PresenceRoom): Promise<boolean> {
    if (room.isSettled && !room.isPartial) return Promise.resolve(true)
    const waiting = deferred<boolean>()
    const others = this.#waiting.get(room)
    if (others === undefined) this.#waiting.set(room, new Set([waiting]))
    else others.add(waiting)
    this.#timeouts.add({ room, waiting })
    return waiting.promise
  }

  close(): void {
    this.#questions.close()
    this.#timeouts.close()
    for (const room of [...this.#waiting.keys()]) this.#end(room, false)
    this.#changed.clear()
    this.#gone.clear()
    this.#nodes.clear()
    this.#forgetting.clear()
    this.#intake.close()
    this.#answers.close()
  }

  connected(awayMs: number): void {
    if (awayMs > 0) {
      for (const room of this.#rooms) {
        room.isSettled = false
        room.isAnswered = false
      }
    }
    this.#questions.askAll()
  }

  beat(): void {
    this.#host.beat()
    for (const node of [...this.#gone]) {
      if (!this.#link.knows(node)) continue
      // It never stopped, so it does not know that its members were removed here.
      this.#gone.delete(node)
      this.#forgetting.delete(node)
      this.#work.add(this.#repairAll(node))
    }
    for (const [node, beats] of this.#nodes) {
      if (this.#link.knows(node)) this.#nodes.set(node, 0)
      else if (beats < MAX_UNKNOWN_BEATS) this.#nodes.set(node, beats + 1)
      else this.nodeGone(node)
    }
    this.#questions.beat()
    this.#publishDigest()
  }

  told(node: string, name: string | undefined, message: PresenceMessage): void {
    if (this.#gone.has(node) && !this.#link.knows(node)) return
    // It is back: what it tells must not be dropped. Its next heartbeat has it asked about all rooms.
    this.#forgetting.delete(node)
    if (!this.#nodes.has(node)) this.#nodes.set(node, 0)
    this.#questions.heard(node)
    switch (message.op) {
      case 'delta': {
        const room = name === undefined ? undefined : this.#rooms.get(name)
        if (room !== undefined) this.#intake.delta(node, room, message.delta)
        return
      }
      case 'ask':
        this.#answer(node, message)
        return
      case 'answer':
        this.#questions.take(node, message)
        return
      case 'digest':
        for (const { hash, version } of message.rooms) {
          for (const room of this.#rooms.withHash(hash)) {
            if (room.announced(node, version)) this.#questions.repair(node, room)
          }
        }
        return
    }
  }

  missed(node: string, name: string | undefined): void {
    if (name !== undefined) {
      const room = this.#rooms.get(name)
      if (room?.knows(node) === true) this.#questions.repair(node, room, true)
      return
    }
    // A digest may be missing.
    this.#work.add(this.#repairAll(node, true))
  }

  /** Has a node asked about all rooms. @param ifKnown only about those of which something of it is known */
  *#repairAll(node: string, ifKnown = false): Generator<number, void> {
    for (const room of this.#rooms) {
      yield 1
      if (this.#gone.has(node)) return
      if (!ifKnown || room.knows(node)) this.#questions.repair(node, room, true)
    }
  }

  nodeConnected(node: string): void {
    this.#work.add(this.#questions.askAgain(node))
  }

  nodeGone(node: string): void {
    this.#nodes.delete(node)
    this.#gone.add(node)
    if (this.#gone.size > MAX_GONE)
      for (const oldest of oldestKeys(this.#gone, MAX_GONE)) this.#gone.delete(oldest)
    if (!this.#forgetting.has(node)) {
      const steps: Steps = this.#forget(node, () => this.#forgetting.get(node) === steps)
      this.#forgetting.set(node, steps)
      this.#work.add(steps)
    }
    this.#questions.nodeGone(node)
  }

  /**
   * Drops a node from all rooms, until it is back. Rooms that change places meanwhile are only visited once
   * more.
   */
  *#forget(node: string, isGone: () => boolean): Generator<number, void> {
    for (const room of this.#rooms) {
      yield 1
      if (!isGone()) return
      if (room.knows(node)) yield* this.#intake.forgetting(node, room)
    }
    this.#forgetting.delete(node)
  }

  #answer(node: string, { id, isFull, rooms }: Extract<PresenceMessage, { op: 'ask' }>): void {
    for (const { room: name, version, isEmpty } of rooms) {
      const room = this.#rooms.get(name)
      if (room === undefined) continue
      if (isEmpty) {
        if (room.knows(node)) this.#replaced(node, room, nobodyAt(version), version)
      } else if (room.announced(node, version)) {
        this.#questions.repair(node, room)
      }
    }
    const names = rooms.map(({ room }) => room)
    this.#answers.give(node, id, names, isFull)
  }

  #replaced(node: string, room: PresenceRoom, snapshot: RoomSnapshot, clock: number): void {
    if (snapshot.users + snapshot.anonymous === 0 && !room.knows(node)) return
    this.#intake.snapshot(node, room, snapshot, clock)
  }

  /** Settles a room once nothing is missing: all of it has arrived, or the node that had it has left. */
  #moved(room: PresenceRoom): void {
    this.#host.changed(room)
    if (room.isSettled && !this.#waiting.has(room)) return
    if (!room.isAnswered || room.isBehindAny || room.isPartial) return
    room.isSettled = true
    this.#end(room, true)
  }

  #timedOut(room: PresenceRoom, waiting: Deferred<boolean>): void {
    const others = this.#waiting.get(room)
    if (others?.delete(waiting) === true && others.size === 0) this.#waiting.delete(room)
    waiting.resolve(false)
  }

  /** Ends the time in which changes are held back. */
  #release(room: PresenceRoom): void {
    if (!room.isHeld) return
    room.isHeld = false
    this.#host.changed(room)
  }

  #end(room: PresenceRoom, isSettled: boolean): void {
    for (const waiting of this.#waiting.get(room) ?? []) waiting.resolve(isSettled)
    this.#waiting.delete(room)
  }

  /** Announces the versions of rooms: of those that have changed, and of some others in rotation. */
  #publishDigest(): void {
    const most = Math.floor(contentBytes(this.#limits, MAX_DIGEST_BYTES) / DIGEST_BYTES)
    const versions = new Map<number, number>()
    for (const [hash, version] of this.#changed) {
      if (versions.size === most) break
      this.#changed.delete(hash)
      versions.set(hash, version)
    }
    for (const { hash, version, ownCount } of this.#rooms.next(most - versions.size)) {
      if (ownCount === 0 || version === 0) continue
      // The later version of two rooms with the same hash: it makes nodes that follow either of them ask.
      versions.set(hash, Math.max(version, versions.get(hash) ?? 0))
    }
    const rooms = [...versions].map(([hash, version]) => ({ hash, version }))
    if (rooms.length > 0) this.#link.tell(undefined, { op: 'digest', rooms })
  }
}

function nobodyAt(version: number): RoomSnapshot {
  return { version, users: 0, anonymous: 0, isListed: true, members: [] }
}
