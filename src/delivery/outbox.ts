import type { SendOptions } from '../protocol/message.ts'
import { Backlog } from './backlog.ts'
import type { Batch } from './batch.ts'
import type { Delivery } from './delivery.ts'
import { addDrops, type DropCount, type DropReason, noDrops } from './drop-count.ts'

/**
 * A turn that queues this much for a connection is written before the turn ends; a drained backlog goes in
 * such chunks.
 */
const CHUNK_BYTES = 65_536

/** Pings and pongs are never dropped; a client for which so many bytes of them wait is given up. */
const MAX_CONTROL_BYTES = 65_536

/**
 * What a client over its limit must take between two looks at it. The kernel reports it in steps of a third
 * of its send buffer, which has 4 MB by default: `JUDGE_MS` is longer than a step takes at 100 kB/s.
 */
const MIN_PROGRESS_BYTES = 65_536

/** The part of a stream that an outbox writes to. */
export interface OutboxSocket {
  write(bytes: Buffer): unknown
  readonly writableLength: number
  readonly writableNeedDrain: boolean
  once(event: 'drain', listener: () => void): unknown
}

/** Whose outbox it is. */
export interface OutboxOwner {
  /** Whether data frames may still be written: not after a close frame. */
  readonly writable: boolean
  /**
   * The client is given up: too much waits for it, or for all clients of the hub together, and for this one
   * the most.
   */
  overflow(of: 'client' | 'hub'): void
  /** Something was dropped since the last turn. */
  reportDrops(drops: ReadonlyMap<DropReason, DropCount>): void
}

/**
 * What one connection still has to write, in the order of the calls. Nothing else writes to the socket, save
 * the close and pong frames of `ws` itself.
 *
 * - A turn's frames leave in one write at its end.
 * - While the socket is congested, frames wait here; above `maxBufferedBytes` the policy decides on further
 *   ones. Pings and pongs are never dropped.
 * - What the turn that congested the socket queues is spared. After it, the least that has waited since may
 *   grow by `maxBufferedBytes`, while the client goes on taking what it owes.
 */
export class Outbox {
  readonly #socket: OutboxSocket
  readonly #delivery: Delivery
  readonly #owner: OutboxOwner
  /** This turn's frames; `undefined` when there are none. */
  #batch: Batch | undefined
  /** Frames behind a congested socket; `undefined` while it is not. */
  #backlog: Backlog | undefined
  #scheduled = false
  #ending: (() => void) | undefined
  /** What was dropped and not told to the owner yet. */
  #drops: Map<DropReason, DropCount> | undefined

  constructor(socket: OutboxSocket, delivery: Delivery, owner: OutboxOwner) {
    this.#socket = socket
    this.#delivery = delivery
    this.#owner = owner
  }

  /**
   * Bytes that were accepted and that the operating system has not taken yet; a write counts until it is
   * complete.
   */
  get bufferedBytes(): number {
    return (this.#batch?.bytes ?? 0) + (this.#backlog?.bytes ?? 0) + this.#socket.writableLength
  }

  /** Accepts a message for writing; `false` when it was dropped. */
  send(frame: Buffer, options?: SendOptions): boolean {
    const backlog = this.#backlog
    if (backlog === undefined) return this.#append(frame, true)
    this.#schedule()
    if (options?.volatile === true) return this.#drop('volatile', 1, frame.length)
    const { slowConsumer } = this.#delivery
    const key = slowConsumer === 'conflate' ? options?.key : undefined
    if (key !== undefined) {
      const former = backlog.dropKey(key)
      if (former !== undefined) this.#drop('conflate', 1, former.bytes.length)
    }
    if (!this.#makeRoom(backlog, frame.length)) return false
    if (slowConsumer === 'close' || slowConsumer === 'dropNewest') return this.#append(frame, true)
    backlog.push({ bytes: frame, messages: 1, controlBytes: 0, key })
    this.#delivery.congestion.relieve()
    return true
  }

  /** Accepts a ping or a pong. */
  sendControl(frame: Buffer): void {
    const backlog = this.#backlog
    if (backlog === undefined) {
      this.#append(frame, false)
    } else if (backlog.controlBytes + frame.length > MAX_CONTROL_BYTES) {
      this.#owner.overflow('client')
    } else {
      this.#write() // what this turn has queued before it
      if (this.#backlog !== backlog) return // given up for that
      backlog.push({ bytes: frame, messages: 0, controlBytes: frame.length, key: undefined })
      this.#delivery.congestion.relieve()
    }
  }

  /** Writes what the turn has queued: the turn is over. */
  flush(): void {
    this.#scheduled = false
    this.#write()
    this.tellDrops()
  }

  /** Writes all that was accepted, whatever the socket can take: after this nothing can be. */
  flushAll(): void {
    this.#write()
    if (this.#backlog === undefined || this.#backlog.isEmpty || !this.#owner.writable) return
    this.#socket.write(this.#backlog.take(Number.POSITIVE_INFINITY))
  }

  /**
   * Calls `then` when all that was accepted has been handed to the socket, at once where that is possible.
   */
  end(then: () => void): void {
    this.#write()
    if (this.#backlog === undefined || this.#backlog.isEmpty) then()
    else this.#ending = then
  }

  /** Drops what was not written, for a connection that is gone or given up. */
  clear(reason: 'overflow' | 'closed'): void {
    for (const part of [this.#backlog, this.#batch]) {
      if (part !== undefined) this.#drop(reason, part.messages, part.bytes - part.controlBytes)
    }
    this.#batch = undefined
    this.#ending = undefined
    this.#uncongested()
  }

  /** Reports what was dropped, which calls user code: never inside a broadcast. */
  tellDrops(): void {
    const drops = this.#drops
    if (drops === undefined) return
    this.#drops = undefined
    this.#owner.reportDrops(drops)
  }

  /** Bytes that the client has taken since the socket became congested; 0 while it is not. */
  get takenBytes(): number {
    return this.#backlog === undefined ? 0 : this.#backlog.writtenBytes - this.#socket.writableLength
  }

  /**
   * Gives up a client over its limit that has hardly read since the last look; see {@link
   * Congestion.add}.
   */
  judge(): void {
    const backlog = this.#backlog
    if (backlog === undefined) return
    const { takenBytes } = this
    const before = backlog.judgedBytes
    const isOver = this.bufferedBytes > this.#delivery.maxBufferedBytes
    backlog.judgedBytes = isOver ? takenBytes : undefined
    const isSlow = isOver && before !== undefined && takenBytes < before + MIN_PROGRESS_BYTES
    if (isSlow) this.#owner.overflow('client')
  }

  /** Gives up a client so that the hub has more room; see {@link Congestion.relieve}. */
  giveUp(): void {
    this.#owner.overflow('hub')
    this.clear('overflow') // also of a connection that is closing already
  }

  #append(frame: Buffer, isMessage: boolean): true {
    const batch = (this.#batch ?? this.#delivery.loop.root).extend(frame, isMessage)
    this.#batch = batch
    this.#schedule()
    if (batch.bytes >= CHUNK_BYTES) this.#write()
    return true
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    this.#delivery.loop.schedule(this)
  }

  #write(): void {
    const batch = this.#batch
    if (batch === undefined) return
    this.#batch = undefined
    if (!this.#owner.writable) {
      this.#drop('closed', batch.messages, batch.bytes - batch.controlBytes)
      return
    }
    if (this.#backlog !== undefined) {
      const { messages, controlBytes } = batch
      this.#backlog.push({ bytes: batch.join(), messages, controlBytes, key: undefined })
      this.#delivery.congestion.relieve()
      return
    }
    const bytes = batch.join()
    this.#socket.write(bytes)
    if (!this.#isCongested()) return
    const { loop, congestion } = this.#delivery
    this.#backlog = new Backlog(loop.turn, bytes, this.#socket.writableLength, congestion.held)
    this.#awaitDrain(this.#backlog)
    congestion.add(this)
    congestion.relieve()
  }

  // Only bytes that the kernel refused count: `writableNeedDrain` alone is also true for a moment after a
  // large write that it took whole. It is asked for too because without it no 'drain' would come.
  #isCongested(): boolean {
    return this.#socket.writableLength > 0 && this.#socket.writableNeedDrain
  }

  #awaitDrain(backlog: Backlog): void {
    this.#socket.once('drain', () => {
      if (this.#backlog === backlog) this.#drain(backlog)
    })
  }

  #drain(backlog: Backlog): void {
    if (!this.#owner.writable) {
      this.clear('closed')
      return
    }
    let isCongested = false
    while (!backlog.isEmpty && !isCongested) {
      this.#socket.write(backlog.take(CHUNK_BYTES))
      isCongested = this.#isCongested()
    }
    if (isCongested) this.#awaitDrain(backlog)
    else this.#uncongested()
    if (!backlog.isEmpty && isCongested) return
    const then = this.#ending
    this.#ending = undefined
    then?.()
  }

  #uncongested(): void {
    this.#backlog?.dispose()
    this.#backlog = undefined
    this.#delivery.congestion.delete(this)
  }

  /** Whether a message of so many bytes may wait, after dropping others for it where the policy says so. */
  #makeRoom(backlog: Backlog, bytes: number): boolean {
    const { maxBufferedBytes, slowConsumer, loop } = this.#delivery
    if (backlog.turn !== loop.turn) backlog.leastBytes = Math.min(backlog.leastBytes, this.bufferedBytes)
    while (this.bufferedBytes + bytes > maxBufferedBytes) {
      if (slowConsumer === 'dropNewest') return this.#drop('dropNewest', 1, bytes)
      if (slowConsumer === 'dropOldest') {
        const fits = this.#socket.writableLength + backlog.controlBytes + bytes <= maxBufferedBytes
        const oldest = fits ? backlog.dropOldest() : undefined
        this.#drop('dropOldest', 1, oldest?.bytes.length ?? bytes)
        if (oldest === undefined) return false
        continue
      }
      if (this.#isSpared(backlog, bytes)) return true
      this.#drop('overflow', 1, bytes)
      this.#owner.overflow('client')
      return false
    }
    return true
  }

  /**
   * Whether a message may wait over the limit: in the turn that congested the socket, which can take nothing
   * before the turn is over, and while what waits does not grow.
   */
  #isSpared(backlog: Backlog, bytes: number): boolean {
    if (backlog.turn === this.#delivery.loop.turn) return true
    return this.bufferedBytes + bytes <= this.#delivery.maxBufferedBytes + backlog.leastBytes
  }

  #drop(reason: DropReason, messages: number, bytes: number): false {
    if (messages === 0) return false
    this.#drops ??= new Map()
    let count = this.#drops.get(reason)
    if (count === undefined) {
      count = noDrops()
      this.#drops.set(reason, count)
    }
    addDrops(count, { messages, bytes })
    addDrops(this.#delivery.dropped[reason], { messages, bytes })
    return false
  }
}
