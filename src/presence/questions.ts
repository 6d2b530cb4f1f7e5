import { DueQueue } from '../base/due-queue.ts'
import type { Link } from '../cluster/link.ts'
import { type AskedRoom, askedBytes, type RoomSnapshot } from '../cluster/wire/presence-message.ts'
import type { Answer } from './answers.ts'
import { contentBytes, type ExchangeLimits } from './exchange-limits.ts'
import type { PresenceRoom } from './presence-room.ts'
import { batchesOf } from './room-batches.ts'
import type { RoomTable } from './room-table.ts'
import { Round } from './round.ts'

/** The most bytes of one question. */
const ASK_BYTES = 16_384
/** The most rooms that all nodes are asked about in one turn of the event loop. */
const MAX_ASKED_PER_TURN = 2_000
/** The cost of asking about a room again, in members that are looked at. */
const ASK_COST = 3
/** Time, in ms, for changes that are on their way to arrive, before a node is asked for them. */
const REPAIR_DELAY_MS = 20
/** Heartbeats after which rooms that lack an answer are asked about again: at first, and at most. */
const FIRST_RETRY_BEATS = 1
const MAX_RETRY_BEATS = 64

/** The presence of a hub, as its questions to other nodes use it. */
export interface QuestionsHost {
  /** A node has sent its members of a room. @param clock its latest version of any room at that time */
  snapshot(node: string, room: PresenceRoom, snapshot: RoomSnapshot, clock: number): void
  /** All nodes have answered about a room, or it was given up. */
  answered(room: PresenceRoom, isByAll: boolean): void
}

/**
 * Asks the other nodes who is in rooms: all of them when a room is followed from now on, and one, at any
 * time, when it has changes that did not arrive.
 */
export class Questions {
  readonly #link: Link
  readonly #rooms: RoomTable
  readonly #host: QuestionsHost
  readonly #askBytes: number
  /** Rooms that all nodes have to be asked about. */
  readonly #waiting = new Set<string>()
  #isAsking = false
  readonly #rounds = new Map<number, Round>()
  /** The latest round that asks for a room. */
  readonly #roundOf = new Map<string, Round>()
  /** Rooms about which a node did not answer. */
  readonly #unanswered = new Set<string>()
  /** Nodes that did not answer, perhaps because their version is older. Rounds do not wait for them. */
  readonly #mute = new Set<string>()
  #retryBeats = FIRST_RETRY_BEATS
  #beatsToRetry = FIRST_RETRY_BEATS
  /**
   * By node: the rooms that it has to be asked about, and whether also when nothing is known to be missing.
   */
  readonly #repairs = new Map<string, Map<string, boolean>>()
  #repairing: Round | undefined
  #repairTimer: NodeJS.Timeout | undefined
  #settleTimer: NodeJS.Timeout | undefined
  readonly #timeouts: DueQueue<Round>
  readonly #subscribing: DueQueue<() => void>
  #ids = 0
  #repaired = 0
  #isClosed = false

  constructor(link: Link, rooms: RoomTable, limits: ExchangeLimits, host: QuestionsHost) {
    this.#link = link
    this.#rooms = rooms
    this.#host = host
    this.#askBytes = contentBytes(limits, ASK_BYTES)
    this.#timeouts = new DueQueue(limits.callTimeoutMs, (round) => this.#timedOut(round))
    this.#subscribing = new DueQueue(limits.callTimeoutMs, (proceed) => proceed())
  }

  /** How many times a node was asked about a room of which something had not arrived. */
  get repaired(): number {
    return this.#repaired
  }

  /** Asks all nodes about a room, soon. */
  ask(room: PresenceRoom): void {
    this.#waiting.add(room.name)
    void this.#askWaiting()
  }

  /** Asks all nodes about all rooms: this node is connected, and the answers so far may be lost. */
  askAll(): void {
    for (const round of [...this.#rounds.values()]) {
      if (round.node !== undefined) this.#end(round)
      else this.#rounds.delete(round.id)
    }
    for (const { name } of this.#rooms) this.#waiting.add(name)
    void this.#askWaiting()
  }

  /** The room is not followed any more. */
  forget({ name }: PresenceRoom): void {
    this.#waiting.delete(name)
    this.#unanswered.delete(name)
    this.#roundOf.delete(name)
  }

  /**
   * Asks one node about a room, soon.
   * @param isForced whether also when nothing is known to be missing
   */
  repair(node: string, room: PresenceRoom, isForced = false): void {
    const rooms = this.#repairs.get(node) ?? new Map<string, boolean>()
    rooms.set(room.name, isForced || rooms.get(room.name) === true)
    this.#repairs.set(node, rooms)
    this.#repairSoon()
  }

  /** A node has answered. */
  take(node: string, answer: Answer): void {
    const round = this.#rounds.get(answer.id)
    if (round === undefined || !round.take(node, answer)) return
    this.#check(round)
  }

  /** A node has sent something about presence: it can be expected to answer. */
  heard(node: string): void {
    if (this.#mute.delete(node)) this.#retrySoon()
  }

  /** Asks a node again what it has not answered: the question, or a part of the answer, was lost. */
  *askAgain(node: string): Generator<number, void> {
    for (const round of [...this.#rounds.values()]) {
      if (round.node === node) this.#end(round)
      if (round.node !== undefined || !this.#rounds.has(round.id)) continue // or it has ended meanwhile
      round.lost(node)
      this.#askLate(round, node)
      yield ASK_COST * round.rooms.length
    }
    this.#repairSoon()
  }

  /** Drops the questions that a node has not answered, because it has left. Nothing else drops them. */
  nodeGone(node: string): void {
    this.heard(node)
    for (const round of [...this.#rounds.values()]) {
      if (round.node === node) this.#end(round)
      else this.#check(round)
    }
    this.#repairs.delete(node)
    if (this.#repairs.size > 0) this.#repairSoon()
  }

  /** Asks again about rooms that lack an answer, or whose question was refused. */
  beat(): void {
    if (this.#repairs.size > 0) this.#repairSoon()
    if (this.#unanswered.size > 0 && --this.#beatsToRetry <= 0) {
      this.#retryBeats = Math.min(2 * this.#retryBeats, MAX_RETRY_BEATS)
      this.#beatsToRetry = this.#retryBeats
      for (const name of this.#unanswered) this.#waiting.add(name)
      this.#unanswered.clear()
    }
    void this.#askWaiting() // includes those whose question the engine has refused
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#repairTimer)
    clearTimeout(this.#settleTimer)
    this.#timeouts.close()
    this.#subscribing.close()
    for (const table of [this.#waiting, this.#rounds, this.#roundOf, this.#unanswered, this.#repairs])
      table.clear()
  }

  #retrySoon(): void {
    this.#retryBeats = FIRST_RETRY_BEATS
    this.#beatsToRetry = FIRST_RETRY_BEATS
  }

  /**
   * Asks about one batch of rooms after the other; rooms that are added meanwhile are in a later batch. A
   * backplane that refuses a question while it is connected would refuse it again in this turn: such rooms
   * wait for the next heartbeat.
   */
  async #askWaiting(): Promise<void> {
    if (this.#isAsking || this.#waiting.size === 0) return
    this.#isAsking = true
    await Promise.resolve() // the other rooms of this turn
    const refused: string[] = []
    while (this.#waiting.size > 0 && this.#link.state === 'connected' && !this.#isClosed) {
      const names = [...this.#waiting]
      const inTime = new Promise<void>((resolve) => this.#subscribing.add(resolve))
      for (let start = 0; start < names.length; start += MAX_ASKED_PER_TURN) {
        if (start > 0) await new Promise((resolve) => setImmediate(resolve))
        const some = names.slice(start, start + MAX_ASKED_PER_TURN)
        // Until these are subscribed to, or the engine has not confirmed that in time.
        await Promise.race([this.#link.listening(some), inTime])
        if (this.#isClosed) return
        const rooms = some
          .filter((name) => this.#waiting.delete(name))
          .flatMap((name) => this.#rooms.get(name) ?? [])
        for (const batch of batchesOf(rooms, this.#askBytes)) {
          if (!this.#askAbout(batch)) refused.push(...batch.map(({ name }) => name))
        }
      }
    }
    for (const name of refused) if (this.#rooms.get(name) !== undefined) this.#waiting.add(name)
    this.#isAsking = false
  }

  /** @returns `false` when the question was not sent */
  #askAbout(rooms: readonly PresenceRoom[]): boolean {
    const round = this.#begin(rooms, undefined)
    for (const node of this.#link.peers) round.asked.add(node)
    for (const { name } of rooms) this.#roundOf.set(name, round)
    if (!this.#send(round, rooms)) {
      this.#rounds.delete(round.id)
      return false
    }
    this.#check(round)
    return true
  }

  #begin(rooms: readonly PresenceRoom[], node: string | undefined): Round {
    const names = rooms.map(({ name }) => name)
    const round = new Round(++this.#ids, names, node, {
      snapshot: (from, name, snapshot, clock) => {
        const room = this.#rooms.get(name)
        if (room !== undefined) this.#host.snapshot(from, room, snapshot, clock)
      },
      announced: (from, name, version) => {
        const room = this.#rooms.get(name)
        if (room?.announced(from, version) === true) this.repair(from, room)
      },
    })
    this.#rounds.set(round.id, round)
    this.#timeouts.add(round)
    return round
  }

  /** @returns `false` when the question was not sent */
  #send({ id, node: only }: Round, rooms: readonly PresenceRoom[], node = only): boolean {
    const asked: AskedRoom[] = rooms.map(({ name, version, ownCount }) => {
      return { room: name, version, isEmpty: ownCount === 0 }
    })
    const to = node === undefined ? undefined : { node }
    return this.#link.tell(to, { op: 'ask', id, isFull: only !== undefined, rooms: asked })
  }

  /** Ends a round when all nodes that are expected to answer have done so. */
  #check(round: Round): void {
    if (!this.#rounds.has(round.id)) return
    if (round.node !== undefined) {
      if (round.hasAnswered(round.node)) this.#end(round)
      return
    }
    const { settlingMs, peers } = this.#link
    if (settlingMs > 0) {
      this.#settleTimer ??= setTimeout(() => {
        this.#settleTimer = undefined
        for (const open of [...this.#rounds.values()]) this.#check(open)
      }, settlingMs).unref()
      return
    }
    for (const node of peers) this.#askLate(round, node)
    if (peers.every((node) => round.hasAnswered(node) || this.#mute.has(node))) this.#end(round)
  }

  /** Asks a node that was not connected, or not known, when the round began: it may not have the question. */
  #askLate(round: Round, node: string): void {
    if (round.asked.has(node) || round.hasAnswered(node)) return
    const rooms = round.rooms.flatMap((name) => this.#rooms.get(name) ?? [])
    if (this.#send(round, rooms, node)) round.asked.add(node)
  }

  #timedOut(round: Round): void {
    if (!this.#rounds.has(round.id)) return
    if (round.node === undefined) {
      for (const node of round.asked) {
        if (this.#link.knows(node) && !round.hasAnswered(node)) this.#mute.add(node)
      }
    }
    this.#end(round)
  }

  #end(round: Round): void {
    this.#rounds.delete(round.id)
    if (round.node === undefined) this.#endOfAll(round)
    else this.#endOfRepair(round, round.node)
  }

  #endOfAll(round: Round): void {
    const isByAll = this.#link.peers.every((node) => round.hasAnswered(node))
    if (isByAll && this.#unanswered.size === 0) this.#retrySoon()
    for (const name of round.rooms) {
      const room = this.#rooms.get(name)
      if (room === undefined || this.#roundOf.get(name) !== round) continue
      this.#roundOf.delete(name)
      if (!isByAll) this.#unanswered.add(name)
      this.#host.answered(room, isByAll)
    }
  }

  #endOfRepair(round: Round, node: string): void {
    if (this.#repairing === round) this.#repairing = undefined
    if (!round.hasAnswered(node)) this.#repairAtBeat(node, round)
    else if (this.#repairs.size > 0) this.#repairSoon()
  }

  #repairAtBeat(node: string, { rooms: names }: Round): void {
    const rooms = this.#repairs.get(node) ?? new Map<string, boolean>()
    for (const name of names) rooms.set(name, true)
    this.#repairs.set(node, rooms)
  }

  #repairSoon(): void {
    if (this.#repairing !== undefined || this.#isClosed) return
    this.#repairTimer ??= setTimeout(() => {
      this.#repairTimer = undefined
      this.#repairNext()
    }, REPAIR_DELAY_MS).unref()
  }

  /** Asks the next node about some of the rooms that it has to be asked about. */
  #repairNext(): void {
    if (this.#repairing !== undefined) return
    for (const [node, names] of this.#repairs) {
      const rooms: PresenceRoom[] = []
      let bytes = 0
      for (const [name, isForced] of names) {
        const size = askedBytes(name)
        if (rooms.length > 0 && bytes + size > this.#askBytes) break
        names.delete(name)
        const room = this.#rooms.get(name)
        if (room === undefined || !(isForced || room.isBehind(node))) continue
        rooms.push(room)
        bytes += size
      }
      // To the end: the next question goes to another node.
      this.#repairs.delete(node)
      if (names.size > 0) this.#repairs.set(node, names)
      if (rooms.length === 0) continue
      const round = this.#begin(rooms, node)
      this.#repairing = round
      if (this.#send(round, rooms)) {
        this.#repaired += rooms.length
        return
      }
      this.#rounds.delete(round.id)
      this.#repairing = undefined
      this.#repairAtBeat(node, round)
      return
    }
  }
}
