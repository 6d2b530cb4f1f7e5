import { Duplex } from 'node:stream'
import fc from 'fast-check'
import { type DropCount, type DropReason, Frame, type SlowConsumerPolicy } from 'wshub'

// A hub with connections in memory and a model of it receive the same calls, and must agree about the result
// of each call, each byte that reaches a client, each byte that waits, and each message that is dropped, with
// its reason.

export const MAX_BUFFERED_BYTES = 400
export const HIGH_WATER_BYTES = 100
/** A batch of this size is written before the turn ends. */
export const CHUNK_BYTES = 65_536
export const MAX_CONTROL_BYTES = 65_536
/** Only the first client has negotiated compression. */
export const CONNECTIONS = [0, 1, 2, 3]

/** The server's end of a connection; the test decides whether the client reads. */
export class Pipe extends Duplex {
  /** Bytes that the client has received and the test has not checked yet. */
  wire: Buffer[] = []
  isStalled = false
  #held: (() => void) | undefined

  constructor() {
    super({ writableHighWaterMark: HIGH_WATER_BYTES })
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    const take = () => {
      this.wire.push(chunk)
      done()
    }
    if (this.isStalled) this.#held = take
    else take()
  }

  // Like a socket: `ws` writes a close frame in two parts.
  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), '', done)
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#held = undefined
    done(error)
  }

  /** The client reads the pending write. Later writes form the next one. */
  step(): void {
    const held = this.#held
    this.#held = undefined
    held?.()
  }

  /** The client reads again. */
  open(): void {
    this.isStalled = false
    this.step()
  }
}

export interface MessageOptions {
  readonly key?: string | undefined
  readonly volatile: boolean
  readonly urgent: boolean
}

/** A frame that was accepted. */
export interface Item {
  readonly bytes: Buffer
  readonly isMessage: boolean
  readonly key: string | undefined
  /** Frames of one turn stay together. */
  part?: number
}

export const bytesOf = (items: readonly Item[]) => items.reduce((sum, { bytes }) => sum + bytes.length, 0)

/** The model of a connection. */
export class ConnectionModel {
  readonly rooms = new Set<string>()
  isOpen = true
  isStalled = false
  isGone = false
  hasSaidGoodbye = false
  /**
   * Bytes of messages that were offered, that were received, and that were lost in the socket when the client
   * disconnected.
   */
  offered = 0
  received = 0
  lost = 0
  /** The frames of this turn, and those that wait for it. */
  batch: Item[] = []
  due: 'later' | 'now' | undefined
  /** Frames that wait for a congested socket; `undefined` while it is not congested. */
  backlog: Item[] | undefined
  /** The writes that the socket has not completed. */
  socket: Item[][] = []
  /** Bytes that the client has received and the test has not checked yet. */
  wire: Item[] = []
  readonly drops = new Map<DropReason, DropCount>()
  readonly #hub: HubModel
  #congestedIn = 0
  #parts = 0
  /** The fewest bytes that waited at a call after the turn that congested the socket. */
  #least = Number.POSITIVE_INFINITY
  #isEnding = false
  #hasClosed = false

  constructor(hub: HubModel) {
    this.#hub = hub
  }

  get waiting(): Item[] {
    return [...this.socket.flat(), ...(this.backlog ?? []), ...this.batch]
  }

  send(bytes: Buffer, { key, volatile, urgent }: MessageOptions): boolean {
    if (!this.isOpen) return false
    const { policy } = this.#hub
    const item: Item = { bytes, isMessage: true, key }
    this.offered += bytes.length
    if (this.backlog === undefined) return this.#append(item, !urgent && this.#hub.isDelayed)
    this.due = 'now'
    if (volatile) return this.#drop('volatile', item)
    if (policy === 'conflate' && key !== undefined) {
      const former = this.backlog.find((other) => other.key === key)
      if (former !== undefined) this.#takeOut('conflate', former)
    }
    if (!this.#isBurst) this.#least = Math.min(this.#least, bytesOf(this.waiting))
    if (policy === 'dropOldest') {
      const fixed = [...this.socket.flat(), ...this.backlog.filter(({ isMessage }) => !isMessage)]
      if (bytesOf(fixed) + bytes.length > MAX_BUFFERED_BYTES) return this.#drop('dropOldest', item)
      while (bytesOf(this.waiting) + bytes.length > MAX_BUFFERED_BYTES) {
        const oldest = this.backlog.find(({ isMessage }) => isMessage)
        if (oldest === undefined) throw new Error('the model is wrong')
        this.#takeOut('dropOldest', oldest)
      }
    } else if (policy === 'dropNewest') {
      if (bytesOf(this.waiting) + bytes.length > MAX_BUFFERED_BYTES) return this.#drop('dropNewest', item)
    } else if (!this.#isWithinLimit(bytes.length)) {
      this.#drop('overflow', item)
      this.#giveUp()
      return false
    }
    if (policy === 'close' || policy === 'dropNewest') return this.#append(item, false)
    this.#hold([item])
    return true
  }

  ping(bytes: Buffer): boolean {
    if (!this.isOpen) return false
    const item: Item = { bytes, isMessage: false, key: undefined }
    if (this.backlog === undefined) return this.#append(item, false)
    if (bytesOf(this.backlog.filter(({ isMessage }) => !isMessage)) + bytes.length > MAX_CONTROL_BYTES) {
      this.#giveUp()
    } else {
      this.flush()
      this.#hold([item])
    }
    return true
  }

  close(): boolean {
    if (!this.isOpen) return false
    this.isOpen = false
    this.flush()
    this.#isEnding = true
    this.#endIfPossible(Frame.close(4000))
    return true
  }

  /** The client closes: the answer follows everything that was accepted. */
  goodbye(): void {
    if (this.hasSaidGoodbye || this.isGone) return
    this.flush()
    if (this.backlog !== undefined && this.backlog.length > 0) {
      this.socket.push(this.backlog)
      this.backlog = []
    }
    this.hasSaidGoodbye = true
    this.isOpen = false
    this.#isEnding = false
    if (!this.#hasClosed) this.#writeClose(Frame.close(1000))
  }

  /** The client disconnects. */
  reset(): void {
    if (this.isGone) return
    this.isGone = true
    this.isOpen = false
    this.#dropAll('closed')
    this.lost = bytesOf(this.socket.flat().filter(({ isMessage }) => isMessage))
    this.socket = []
    this.rooms.clear()
  }

  /** The client reads one write. */
  step(): void {
    const [first = [], ...others] = this.socket
    this.wire.push(...first)
    this.socket = others.length === 0 ? [] : [others.flat()]
    if (this.socket.length > 0 || this.backlog === undefined) return
    const { backlog } = this
    if (this.hasSaidGoodbye) this.#dropAll('closed')
    this.backlog = undefined
    if (!this.hasSaidGoodbye) this.#drain(backlog)
    this.#endIfPossible(Frame.close(4000))
  }

  resume(): void {
    this.isStalled = false
    while (this.socket.length > 0) this.step()
  }

  /** Writes the frames of the turn. */
  flush(): void {
    const { batch } = this
    this.batch = []
    if (batch.length === 0) return
    if (this.hasSaidGoodbye) for (const item of batch) this.#dropMessage('closed', item)
    else if (this.backlog === undefined) this.#write(batch)
    else this.#hold(batch)
  }

  get #isBurst(): boolean {
    return this.backlog !== undefined && this.#congestedIn === this.#hub.turn
  }

  /**
   * With the policies that close, messages of the turn that congested the socket are exempt from the limit,
   * while they do not grow.
   */
  #isWithinLimit(bytes: number): boolean {
    const wanted = bytesOf(this.waiting) + bytes
    return wanted <= MAX_BUFFERED_BYTES || this.#isBurst || wanted <= MAX_BUFFERED_BYTES + this.#least
  }

  #append(item: Item, mayWait: boolean): true {
    this.batch.push(item)
    const isFull = bytesOf(this.batch) >= CHUNK_BYTES
    if (!mayWait || isFull) this.due = 'now'
    this.due ??= 'later'
    if (isFull) this.flush()
    return true
  }

  #write(items: Item[], isDrain = false): void {
    if (!this.isStalled) {
      this.wire.push(...items)
      return
    }
    this.socket.push(items)
    if (bytesOf(this.socket.flat()) < HIGH_WATER_BYTES) return
    this.backlog = []
    if (isDrain) return // still the same congestion
    this.#congestedIn = this.#hub.turn
    this.#least = Number.POSITIVE_INFINITY
  }

  #hold(items: readonly Item[]): void {
    this.#parts++
    for (const item of items) item.part = this.#parts
    this.backlog?.push(...items)
  }

  /**
   * Writes waiting parts, up to 64 KiB but at least one at a time, until the socket is congested again.
   */
  #drain(items: readonly Item[]): void {
    let rest = [...items]
    while (rest.length > 0 && this.backlog === undefined) {
      let taken: Item[] = []
      do {
        const next = rest.filter(({ part }) => part === rest[0]?.part)
        if (taken.length > 0 && bytesOf(taken) + bytesOf(next) > CHUNK_BYTES) break
        taken = taken.concat(next)
        rest = rest.slice(next.length)
      } while (rest.length > 0)
      this.#write(taken, true)
    }
    if (this.backlog !== undefined) this.backlog = rest
  }

  #giveUp(): void {
    this.isOpen = false
    this.#dropAll('overflow')
    this.#isEnding = true
    this.#endIfPossible(Frame.close(1013, 'too slow'))
  }

  #endIfPossible(frame: Frame): void {
    if (!this.#isEnding || (this.backlog ?? []).length > 0) return
    this.#isEnding = false
    this.#writeClose(frame)
  }

  #writeClose(frame: Frame): void {
    this.#hasClosed = true
    const item: Item = { bytes: frame.encode(), isMessage: false, key: undefined }
    if (this.isStalled) this.socket.push([item])
    else this.wire.push(item)
  }

  #takeOut(reason: DropReason, item: Item): void {
    this.backlog = this.backlog?.filter((other) => other !== item)
    this.#drop(reason, item)
  }

  #dropAll(reason: DropReason): void {
    for (const item of [...(this.backlog ?? []), ...this.batch]) this.#dropMessage(reason, item)
    this.backlog = undefined
    this.batch = []
    this.#isEnding = false
  }

  #dropMessage(reason: DropReason, item: Item): void {
    if (item.isMessage) this.#drop(reason, item)
  }

  #drop(reason: DropReason, { bytes }: Item): false {
    const count = this.drops.get(reason) ?? { messages: 0, bytes: 0 }
    this.drops.set(reason, { messages: count.messages + 1, bytes: count.bytes + bytes.length })
    return false
  }
}

/** The model of a hub. */
export class HubModel {
  readonly policy: SlowConsumerPolicy
  readonly connections: ConnectionModel[] = CONNECTIONS.map(() => new ConnectionModel(this))
  /** Whether messages wait for others. */
  readonly isDelayed: boolean
  turn = 0

  constructor(policy: SlowConsumerPolicy, isDelayed: boolean) {
    this.policy = policy
    this.isDelayed = isDelayed
  }

  /** The time is over for which messages wait. */
  delayPassed(): void {
    for (const connection of this.connections) if (connection.due === 'later') connection.due = 'now'
  }

  endTurn(): void {
    const due = this.connections.filter((connection) => connection.due === 'now')
    if (due.length === 0) return
    this.turn++
    for (const connection of due) {
      connection.due = undefined
      connection.flush()
    }
  }
}

export const connection = fc.constantFrom(...CONNECTIONS)
