import type { SendOptions } from '../protocol/message.ts'
import { encodedFrame, type MessageFrame } from '../protocol/message-frame.ts'
import { Backlog, type Held, type Origin } from './backlog.ts'
import { type Batch, MAX_DELAYED_MESSAGES } from './batch.ts'
import type { Delivery } from './delivery.ts'
import { addDrops, countDrops, type DropCount, type DropReason } from './drop-count.ts'
import type { OutboxOwner, OutboxSocket } from './outbox-owner.ts'

/** A batch of this size is written at once; a backlog is written in chunks of this size. */
const CHUNK_BYTES = 65_536

/** Most bytes of pings and pongs that may wait: they are not dropped. Beyond it, the client is closed. */
const MAX_CONTROL_BYTES = 65_536

/**
 * Bytes that a client over its limit must read between two checks. The kernel reports progress in steps of a
 * third of its send buffer of 4 MB; at 100 kB/s, a step takes less than `JUDGE_MS`.
 */
const MIN_PROGRESS_BYTES = 65_536

/**
 * The frames that one connection has yet to write, in the order of the calls. Nothing else writes to the
 * socket, except `ws` for its own close and pong frames.
 *
 * - The frames of a turn are written at its end, in one write. With a `writeDelayMs`, messages wait longer,
 *   for those of later turns; an urgent message, a ping or a pong takes them along.
 * - While the socket is congested, frames wait here. Above `maxBufferedBytes` the policy decides about more
 *   messages; pings and pongs are never dropped.
 * - Messages of the turn that congested the socket are exempt from the limit. After that turn, up to
 *   `maxBufferedBytes` may wait in addition to the least that has waited since, as long as the client goes on
 *   reading.
 */
export class Outbox {
  readonly #socket: OutboxSocket
  readonly #delivery: Delivery
  readonly #owner: OutboxOwner
  /** The frames of this turn, and those that wait for it; `undefined` when there are none. */
  #batch: Batch | undefined
  /** Frames that wait for a congested socket; `undefined` while it is not congested. */
  #backlog: Backlog | undefined
  /** Whether it is flushed when this turn is over, or when frames have waited for long enough. */
  #due: 'later' | 'now' | undefined
  #isAwaitingDrain = false
  #ending: (() => void) | undefined
  /** Called when less waits for the client. */
  #awaitingRoom: Set<() => void> | undefined
  /** Drops that were not reported to the owner yet. */
  #drops: Map<DropReason, DropCount> | undefined

  constructor(socket: OutboxSocket, delivery: Delivery, owner: OutboxOwner) {
    this.#socket = socket
    this.#delivery = delivery
    this.#owner = owner
  }

  /** Bytes accepted that the operating system has not taken yet; a write counts until it is complete. */
  get bufferedBytes(): number {
    return (this.#batch?.bytes ?? 0) + (this.#backlog?.bytes ?? 0) + this.#socket.writableLength
  }

  /** The most frames that may have yet to be passed to the socket. */
  get maxWaitingFrames(): number {
    return (this.#batch?.maxFrames ?? 0) + (this.#backlog?.maxFrames ?? 0)
  }

  /** Whether what is sent now waits for a congested socket, and may be dropped after it was accepted. */
  get isCongested(): boolean {
    return this.#backlog !== undefined
  }

  /** Accepts a message. @returns `false` when it was dropped */
  send(message: MessageFrame, options?: SendOptions, origin?: Origin): boolean {
    const backlog = this.#backlog
    if (backlog === undefined) return this.#append(message, true, options?.urgent !== true)
    const frame = encodedFrame(message)
    this.#schedule()
    if (options?.volatile === true) return this.#drop('volatile', 1, frame.length)
    const { slowConsumer } = this.#delivery
    const key = slowConsumer === 'conflate' ? options?.key : undefined
    if (key !== undefined) {
      const former = backlog.dropKey(key)
      if (former !== undefined) this.#drop('conflate', 1, former.bytes.length)
    }
    if (!this.#makeRoom(backlog, frame.length, origin)) return false
    if (slowConsumer === 'close' || slowConsumer === 'dropNewest') return this.#append(frame, true, false)
    return this.#hold(backlog, { bytes: frame, messages: 1, controlBytes: 0, key, origin })
  }

  /** Whether so many more bytes may wait without coming close to a limit, of this client or of all. */
  hasRoomFor(bytes: number): boolean {
    if (this.bufferedBytes === 0) return true
    const { maxReplayBytes, congestion } = this.#delivery
    return this.bufferedBytes + bytes <= maxReplayBytes && !congestion.isHalfFull
  }

  /** Calls `then` once when less waits, also if it is passed again before that; never after {@link clear}. */
  awaitRoom(then: () => void, isDue = false): void {
    const isFirst = this.#awaitingRoom === undefined
    this.#awaitingRoom = (this.#awaitingRoom ?? new Set()).add(then)
    if (isDue) return // a message was just accepted, and will be written in its own time
    if (this.#backlog !== undefined || this.#socket.writableLength === 0) this.#schedule()
    else if (isFirst) this.#delivery.polled.add(this)
  }

  /** Does not call `then` any more. */
  stopAwaitingRoom(then: () => void): void {
    this.#awaitingRoom?.delete(then)
  }

  /** No longer drops the messages of a log that wait now, although they can be read again. */
  pin(log: object): void {
    this.#backlog?.pin(log)
  }

  /** Accepts a ping or a pong. */
  sendControl(frame: Buffer): void {
    const backlog = this.#backlog
    if (backlog === undefined) {
      this.#append(frame, false, false)
    } else if (backlog.controlBytes + frame.length > MAX_CONTROL_BYTES) {
      this.#owner.overflow('client')
    } else {
      this.#write() // frames of this turn come first
      if (this.#backlog !== backlog) return // the client was closed because of them
      this.#hold(backlog, { bytes: frame, messages: 0, controlBytes: frame.length, key: undefined })
    }
  }

  delayPassed(): void {
    this.#schedule()
  }

  /** Writes the frames of the turn, which is over. */
  flush(): void {
    this.#due = undefined
    this.#write()
    this.tellDrops()
    if (this.#backlog === undefined) this.#tellRoom()
  }

  /** Writes everything that was accepted, even to a congested socket: nothing can be written afterwards. */
  flushAll(): void {
    this.#write()
    if (this.#backlog === undefined || this.#backlog.isEmpty || !this.#owner.writable) return
    this.#socket.write(this.#backlog.take(Number.POSITIVE_INFINITY))
  }

  /** Calls `then` when everything that was accepted has been passed to the socket, at once if possible. */
  end(then: () => void): void {
    this.#write()
    if (this.#backlog === undefined || this.#backlog.isEmpty) then()
    else this.#ending = then
  }

  /** Drops the frames that were not written, for a connection that is closed. */
  clear(reason: 'overflow' | 'closed'): void {
    for (const part of [this.#backlog, this.#batch]) {
      if (part !== undefined) this.#drop(reason, part.messages, part.bytes - part.controlBytes)
    }
    this.#batch = undefined
    this.#ending = undefined
    this.#awaitingRoom = undefined
    this.#uncongested()
  }

  /** Reports drops to the owner. That calls user code, so it never happens inside a broadcast. */
  tellDrops(): void {
    const drops = this.#drops
    if (drops === undefined) return
    this.#drops = undefined
    this.#owner.reportDrops(drops)
  }

  /** Bytes that the client has read since the socket became congested; 0 while it is not congested. */
  get takenBytes(): number {
    return this.#backlog === undefined ? 0 : this.#backlog.writtenBytes - this.#socket.writableLength
  }

  /** Closes a client over its limit that has hardly read since the last call. For `Congestion`. */
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

  /** Drops messages that can be read again, because the hub needs memory. For `Congestion`. */
  dropReplayable(): void {
    if (this.#backlog !== undefined) this.#resync(this.#backlog, 0, undefined)
  }

  /** Closes the client because the hub needs memory. For `Congestion`. */
  giveUp(): void {
    this.#owner.overflow('hub')
    this.clear('overflow') // the connection may be closing already
  }

  /** Adds a frame to those of this turn. @returns `false` when all of them were dropped at once */
  #append(frame: MessageFrame, isMessage: boolean, mayWait: boolean): boolean {
    const batch = (this.#batch ?? this.#delivery.loop.root).extend(frame, isMessage)
    this.#batch = batch
    this.#schedule(mayWait && batch.bytes < CHUNK_BYTES && batch.messages < MAX_DELAYED_MESSAGES)
    return batch.bytes < CHUNK_BYTES || this.#write()
  }

  /** Adds what waits. @returns `false` when it was dropped at once, for the memory of the hub */
  #hold(backlog: Backlog, held: Held): boolean {
    backlog.push(held)
    this.#delivery.congestion.relieve()
    return backlog.newest === held
  }

  #schedule(mayWait = false): void {
    if (this.#due === 'now' || (mayWait && this.#due === 'later')) return
    const { loop } = this.#delivery
    this.#due = mayWait && loop.delayMs > 0 ? 'later' : 'now'
    if (this.#due === 'later') loop.delay(this)
    else loop.schedule(this)
  }

  /** Writes the frames of this turn, or has them wait. @returns `false` when they were dropped */
  #write(): boolean {
    const batch = this.#batch
    if (batch === undefined) return true
    this.#batch = undefined
    const { messages, controlBytes } = batch
    if (!this.#owner.writable) return this.#drop('closed', messages, batch.bytes - controlBytes)
    const bytes = batch.join()
    if (this.#backlog !== undefined) {
      return this.#hold(this.#backlog, { bytes, messages, controlBytes, key: undefined })
    }
    this.#socket.write(bytes)
    if (this.#isSocketFull()) this.#beginBacklog(bytes)
    return true
  }

  /** Apart from `#write`, which runs for every batch and is kept short for that (`npm run bench -- echo`). */
  #beginBacklog(bytes: Buffer): void {
    const { loop, congestion } = this.#delivery
    this.#backlog = new Backlog(loop.turn, bytes, this.#socket.writableLength, congestion.held)
    this.#awaitDrain()
    congestion.add(this)
    congestion.relieve()
  }

  // `writableNeedDrain` alone is also true for a moment after a large write that the kernel took whole, and
  // there is no 'drain' event without it.
  #isSocketFull(): boolean {
    return this.#socket.writableLength > 0 && this.#socket.writableNeedDrain
  }

  /** One listener at most: frames may be dropped, and others wait, before the socket drains. */
  #awaitDrain(): void {
    if (this.#isAwaitingDrain) return
    this.#isAwaitingDrain = true
    this.#socket.once('drain', () => {
      this.#isAwaitingDrain = false
      if (this.#backlog === undefined) return
      if (this.#owner.writable) this.#drain(this.#backlog)
      else this.clear('closed')
    })
  }

  #drain(backlog: Backlog): void {
    let isCongested = false
    while (!backlog.isEmpty && !isCongested) {
      this.#socket.write(backlog.take(CHUNK_BYTES))
      isCongested = this.#isSocketFull()
    }
    if (isCongested) this.#awaitDrain()
    else this.#uncongested()
    this.tellDrops() // before messages are told to be written
    this.#tellRoom()
    if (!backlog.isEmpty && isCongested) return
    const then = this.#ending
    this.#ending = undefined
    then?.()
  }

  #tellRoom(): void {
    const waiting = this.#awaitingRoom
    if (waiting === undefined) return
    this.#awaitingRoom = undefined
    for (const then of waiting) then()
  }

  #uncongested(): void {
    this.#backlog?.dispose()
    this.#backlog = undefined
    this.#delivery.congestion.delete(this)
  }

  /** Returns whether a message may wait, after dropping others if the policy says so. */
  #makeRoom(backlog: Backlog, bytes: number, origin: Origin | undefined): boolean {
    const { maxBufferedBytes, slowConsumer, loop } = this.#delivery
    if (backlog.turn !== loop.turn) backlog.leastBytes = Math.min(backlog.leastBytes, this.bufferedBytes)
    while (this.bufferedBytes + bytes > maxBufferedBytes) {
      if (slowConsumer === 'resync' && this.#resync(backlog, bytes, origin)) {
        if (origin !== undefined) return false
        continue
      }
      if (slowConsumer === 'dropNewest') return this.#drop('dropNewest', 1, bytes)
      if (slowConsumer === 'dropOldest') {
        const fits = this.#socket.writableLength + backlog.controlBytes + bytes <= maxBufferedBytes
        const oldest = fits ? backlog.dropOldest() : undefined
        this.#drop('dropOldest', 1, oldest?.bytes.length ?? bytes)
        if (oldest === undefined) return false
        continue
      }
      if (this.#isExempt(backlog, bytes)) return true
      this.#drop('overflow', 1, bytes)
      this.#owner.overflow('client')
      return false
    }
    return true
  }

  /**
   * Drops all messages that can be read again, also the one of `origin`, which was about to wait.
   * @returns whether there were any
   */
  #resync(backlog: Backlog, bytes: number, origin: Origin | undefined): boolean {
    const { firsts, ...dropped } = backlog.dropReplayable()
    if (origin !== undefined) {
      if (!firsts.has(origin.log)) firsts.set(origin.log, origin)
      this.#drop('resync', 1, bytes)
    }
    this.#drop('resync', dropped.messages, dropped.bytes)
    this.#owner.resync(firsts.values())
    return firsts.size > 0
  }

  /** Returns whether a message may wait although the limit is reached, as the class describes. */
  #isExempt(backlog: Backlog, bytes: number): boolean {
    if (backlog.turn === this.#delivery.loop.turn) return true
    return this.bufferedBytes + bytes <= this.#delivery.maxBufferedBytes + backlog.leastBytes
  }

  #drop(reason: DropReason, messages: number, bytes: number): false {
    if (messages === 0) return false
    this.#drops ??= new Map()
    countDrops(this.#drops, reason, { messages, bytes })
    addDrops(this.#delivery.dropped[reason], { messages, bytes })
    return false
  }
}
