import type { SlowConsumerPolicy } from './options.ts'

/** A turn that queues this much for a connection is written before the turn ends; a drained backlog goes in such chunks. */
const CHUNK_BYTES = 65_536

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
  /** The policy `close` gives the client up: more than `maxBufferedBytes` wait for it. */
  overflow(): void
}

/**
 * The frames pending in this turn, as a node of a trie: all connections with the same pending sequence hold the same
 * node, so its bytes are concatenated once for all of them.
 */
class Batch {
  /** Bytes of all frames from the root to here. */
  readonly bytes: number
  #parent: Batch | undefined
  readonly #frame: Buffer | undefined
  #joined: Buffer | undefined
  // One remembered child is enough: a broadcast asks all its members' batches for the same frame in one go.
  #childFrame: Buffer | undefined
  #child: Batch | undefined

  constructor(parent?: Batch, frame?: Buffer) {
    this.bytes = parent === undefined || frame === undefined ? 0 : parent.bytes + frame.length
    this.#parent = parent
    this.#frame = frame
  }

  /** The batch of this sequence and one more frame; the same one for the same frame in a row. */
  extend(frame: Buffer): Batch {
    if (this.#child !== undefined && this.#childFrame === frame) return this.#child
    this.#childFrame = frame
    this.#child = new Batch(this, frame)
    return this.#child
  }

  /** All frames in one buffer, concatenated at the first call. */
  join(): Buffer {
    this.#joined ??= this.#concatenate()
    return this.#joined
  }

  #concatenate(): Buffer {
    if (this.#frame !== undefined && this.#frame.length === this.bytes) return this.#frame
    const bytes = Buffer.allocUnsafe(this.bytes)
    let end = this.bytes
    let node: Batch | undefined = this
    while (node !== undefined && end > 0) {
      const part: Buffer | undefined = node.#joined ?? node.#frame
      if (part === undefined) break
      end -= part.length
      bytes.set(part, end)
      node = node.#parent
    }
    this.#parent = undefined
    return bytes
  }
}

/** What the outboxes of one hub share: the limit, the policy, and the turn that they all end together. */
export class Delivery {
  readonly maxBufferedBytes: number
  readonly slowConsumer: SlowConsumerPolicy
  /** The empty batch of this turn. */
  root = new Batch()
  #dirty: Outbox[] = []
  readonly #endTurn = (): void => {
    const dirty = this.#dirty
    this.#dirty = []
    this.root = new Batch()
    for (const outbox of dirty) outbox.flush()
  }

  constructor(options: { readonly maxBufferedBytes: number; readonly slowConsumer: SlowConsumerPolicy }) {
    this.maxBufferedBytes = options.maxBufferedBytes
    this.slowConsumer = options.slowConsumer
  }

  /** Has the outbox flushed when this turn of the event loop has done all its I/O. */
  schedule(outbox: Outbox): void {
    if (this.#dirty.push(outbox) === 1) setImmediate(this.#endTurn)
  }
}

/** Frames that wait for a congested socket, oldest first, up to the hub's `maxBufferedBytes`. */
class Backlog {
  readonly #frames: { bytes: Buffer; control: boolean }[] = []
  bytes = 0

  get isEmpty(): boolean {
    return this.#frames.length === 0
  }

  push(bytes: Buffer, control: boolean): void {
    this.#frames.push({ bytes, control })
    this.bytes += bytes.length
  }

  /** Drops the oldest data frame; `false` when there is none. */
  dropOldest(): boolean {
    const index = this.#frames.findIndex((frame) => !frame.control)
    const [dropped] = index < 0 ? [] : this.#frames.splice(index, 1)
    if (dropped === undefined) return false
    this.bytes -= dropped.bytes.length
    return true
  }

  /** Takes frames of at least one and up to `maxBytes`, in one buffer. */
  take(maxBytes: number): Buffer {
    let count = 0
    let bytes = 0
    for (const frame of this.#frames) {
      if (count > 0 && bytes + frame.bytes.length > maxBytes) break
      count++
      bytes += frame.bytes.length
    }
    this.bytes -= bytes
    return Buffer.concat(
      this.#frames.splice(0, count).map((frame) => frame.bytes),
      bytes,
    )
  }
}

/**
 * What one connection still has to write, in the order of the calls. Nothing else writes to the socket, save the
 * close and pong frames of `ws` itself.
 *
 * - A turn's frames leave in one write at its end.
 * - While the socket is congested, frames wait here; above `maxBufferedBytes` the policy decides on further ones.
 *   Pings and pongs are never dropped.
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

  constructor(socket: OutboxSocket, delivery: Delivery, owner: OutboxOwner) {
    this.#socket = socket
    this.#delivery = delivery
    this.#owner = owner
  }

  /** Bytes that were accepted and that the operating system has not taken yet. */
  get bufferedBytes(): number {
    return (this.#batch?.bytes ?? 0) + (this.#backlog?.bytes ?? 0) + this.#socket.writableLength
  }

  /** Accepts a frame for writing; `false` when the slow-consumer policy dropped it. */
  send(frame: Buffer, control = false): boolean {
    if (this.#backlog !== undefined) return this.#hold(this.#backlog, frame, control)
    const batch = (this.#batch ?? this.#delivery.root).extend(frame)
    this.#batch = batch
    if (!this.#scheduled) {
      this.#scheduled = true
      this.#delivery.schedule(this)
    }
    if (batch.bytes >= CHUNK_BYTES) this.#write()
    return true
  }

  /** Writes what the turn has queued: the turn is over. */
  flush(): void {
    this.#scheduled = false
    this.#write()
  }

  /** Calls `then` when all that was accepted has been handed to the socket, at once where that is possible. */
  end(then: () => void): void {
    this.#write()
    if (this.#backlog === undefined || this.#backlog.isEmpty) then()
    else this.#ending = then
  }

  /** Forgets what was not written, for a connection that is gone. */
  clear(): void {
    this.#batch = undefined
    this.#backlog = undefined
    this.#ending = undefined
  }

  #write(): void {
    const batch = this.#batch
    if (batch === undefined) return
    this.#batch = undefined
    if (!this.#owner.writable) return
    this.#socket.write(batch.join())
    if (this.#isCongested()) this.#backlog = this.#awaitDrain(new Backlog())
  }

  // Only bytes that the kernel refused count: `writableNeedDrain` alone is also true for a moment after a large write
  // that it took whole. It is asked for too because without it no 'drain' would come.
  #isCongested(): boolean {
    return this.#socket.writableLength > 0 && this.#socket.writableNeedDrain
  }

  #awaitDrain(backlog: Backlog): Backlog {
    this.#socket.once('drain', () => {
      if (this.#backlog === backlog) this.#drain(backlog)
    })
    return backlog
  }

  #drain(backlog: Backlog): void {
    while (!backlog.isEmpty && this.#owner.writable) {
      this.#socket.write(backlog.take(CHUNK_BYTES))
      if (!backlog.isEmpty && this.#isCongested()) {
        this.#awaitDrain(backlog)
        return
      }
    }
    this.#backlog = undefined
    const then = this.#ending
    this.#ending = undefined
    then?.()
  }

  #hold(backlog: Backlog, frame: Buffer, control: boolean): boolean {
    const { maxBufferedBytes, slowConsumer } = this.#delivery
    while (!control && this.bufferedBytes + frame.length > maxBufferedBytes) {
      const fits = this.#socket.writableLength + frame.length <= maxBufferedBytes
      if (slowConsumer === 'dropOldest' && fits && backlog.dropOldest()) continue
      if (slowConsumer === 'close') this.#owner.overflow()
      return false
    }
    backlog.push(frame, control)
    return true
  }
}
