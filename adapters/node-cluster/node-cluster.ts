import cluster, { type Worker } from 'node:cluster'
import { randomUUID } from 'node:crypto'
import { isUint8Array } from 'node:util/types'
import type { Backplane, BackplaneListener, BackplaneState } from 'wshub'
import { pause } from '../backplane/backoff.ts'
import { readMaxPendingBytes, refuseUnknown } from '../backplane/backplane-options.ts'
import { Channels } from '../backplane/channels.ts'
import { type Entry, IpcOutbox, isPacket, type SendPacket } from './ipc-outbox.ts'

/**
 * Limits of a backplane over the channel between the processes: in a worker, and in the primary for each
 * worker.
 */
export interface NodeClusterOptions {
  /**
   * Most bytes, of messages and of subscriptions, that the other process has not taken yet, 1 or more. A
   * further message is not accepted; subscriptions wait. Default 16 777 216.
   */
  maxPendingBytes?: number | undefined
}

const CLOSE_MS = 1_000

/** How a process says that binary data does not arrive as such. */
const NOT_ADVANCED =
  "node:cluster passes JSON: call cluster.setupPrimary({ serialization: 'advanced' }) before the first fork"

/**
 * In the primary: passes the messages of the workers' backplanes on to the workers that are subscribed.
 * Workers of a cluster that was set up with `cluster.setupPrimary({ serialization: 'advanced' })` only.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION
 * @returns what ends it: the workers' backplanes are `reconnecting` until somebody serves them again
 */
export function serveNodeCluster(options: NodeClusterOptions = {}): () => void {
  const router = new Router(options)
  return () => router.close()
}

/**
 * In a worker: a backplane by way of the primary, which calls {@link serveNodeCluster}. No broker is needed.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION
 */
export function nodeClusterBackplane(options: NodeClusterOptions = {}): Backplane {
  return new NodeClusterBackplane(options)
}

/** One backplane of a worker, as the primary knows it. */
interface Peer {
  readonly worker: Worker
  readonly outbox: IpcOutbox
  readonly channels: Set<string>
  /** Subscriptions that it was not told of yet: the ids. */
  readonly unconfirmed: Map<string, number>
  /** Messages that it was too slow for, and was not told of yet. */
  dropped: number
}

class Router {
  readonly #maxPendingBytes: number
  /** By the id of the worker and the name of the backplane. */
  readonly #peers = new Map<string, Peer>()
  readonly #channels = new Map<string, Set<Peer>>()
  readonly #onMessage = (worker: Worker, message: unknown) => this.#receive(worker, message)
  readonly #onExit = (worker: Worker) => this.#removeWorker(worker)

  constructor(options: NodeClusterOptions) {
    refuseUnknown(options, ['maxPendingBytes'])
    this.#maxPendingBytes = readMaxPendingBytes(options)
    cluster.on('message', this.#onMessage)
    cluster.on('disconnect', this.#onExit)
    cluster.on('exit', this.#onExit)
    this.#tellAll('serving')
  }

  close(): void {
    cluster.off('message', this.#onMessage)
    cluster.off('disconnect', this.#onExit)
    cluster.off('exit', this.#onExit)
    this.#tellAll('leaving')
    this.#peers.clear()
    this.#channels.clear()
  }

  /** Also workers whose backplane we do not know: they may have said hello when nobody listened. */
  #tellAll(word: 'serving' | 'leaving'): void {
    for (const worker of Object.values(cluster.workers ?? {})) {
      if (worker?.isConnected()) worker.send({ wshub: 'backplane', peer: '', entries: [[word]] }, () => {})
    }
  }

  #receive(worker: Worker, message: unknown): void {
    if (!isPacket(message)) return
    const key = `${worker.id} ${message.peer}`
    for (const entry of message.entries) this.#take(worker, key, message.peer, entry)
  }

  #take(worker: Worker, key: string, name: string, entry: Entry): void {
    if (entry[0] === 'hello') this.#greet(worker, key, name, isUint8Array(entry[1]))
    const peer = this.#peers.get(key)
    if (peer === undefined) return // it spoke to whoever served before, and will say hello to us
    switch (entry[0]) {
      case 'subscribe':
        this.#subscribe(peer, entry[1], entry[2])
        break
      case 'unsubscribe':
        this.#unsubscribe(peer, entry[1])
        break
      case 'message':
        this.#route(entry[1], entry[2])
        break
      case 'ready':
        peer.outbox.push(['welcome'])
        break
      case 'bye':
        this.#remove(key)
        break
    }
  }

  #greet(worker: Worker, key: string, name: string, isAdvanced: boolean): void {
    this.#remove(key)
    const send: SendPacket = (...args) => worker.send(...args)
    const outbox = new IpcOutbox(send, name, this.#maxPendingBytes, () => this.#confirm(peer))
    const peer: Peer = { worker, outbox, channels: new Set(), unconfirmed: new Map(), dropped: 0 }
    if (isAdvanced) this.#peers.set(key, peer)
    else outbox.push(['refused', NOT_ADVANCED])
  }

  #removeWorker(worker: Worker): void {
    for (const [key, peer] of this.#peers) if (peer.worker === worker) this.#remove(key)
  }

  #remove(key: string): void {
    const peer = this.#peers.get(key)
    if (peer === undefined) return
    this.#peers.delete(key)
    for (const channel of [...peer.channels]) this.#unsubscribe(peer, channel)
  }

  #subscribe(peer: Peer, channel: string, id: number): void {
    let peers = this.#channels.get(channel)
    if (peers === undefined) {
      peers = new Set()
      this.#channels.set(channel, peers)
    }
    peers.add(peer)
    peer.channels.add(channel)
    peer.unconfirmed.set(channel, id)
    this.#confirm(peer)
  }

  #confirm({ unconfirmed, outbox }: Peer): void {
    for (const [channel, id] of unconfirmed) {
      if (!outbox.pushSubscription(['subscribed', channel, id])) return
      unconfirmed.delete(channel)
    }
  }

  #unsubscribe(peer: Peer, channel: string): void {
    peer.unconfirmed.delete(channel)
    const peers = this.#channels.get(channel)
    peers?.delete(peer)
    if (peers?.size === 0) this.#channels.delete(channel)
    peer.channels.delete(channel)
  }

  #route(channel: string, bytes: Uint8Array): void {
    for (const peer of this.#channels.get(channel) ?? []) {
      if (!peer.outbox.pushMessage(channel, bytes)) {
        peer.dropped++
      } else if (peer.dropped > 0) {
        peer.outbox.push(['dropped', peer.dropped])
        peer.dropped = 0
      }
    }
  }
}

class NodeClusterBackplane implements Backplane {
  readonly #name = randomUUID()
  readonly #channels = new Channels()
  readonly #closing = new AbortController()
  readonly #outbox: IpcOutbox
  readonly #onMessage = (message: unknown) => this.#receive(message)
  /** The primary has gone, and does not come back. */
  readonly #onDisconnect = () => void this.close()
  /** Channels that the primary was asked to send. */
  readonly #told = new Set<string>()
  /** Channels of which it was told something else than holds now. */
  readonly #dirty = new Set<string>()
  /** Of the subscriptions that it was told of, those that it has not confirmed. */
  readonly #asked = new Map<string, number>()
  /** Whether it was told `hello`, and not yet everything. */
  #isGreeting = false
  #nextId = 0

  #state: BackplaneState = 'connecting'
  #listener: BackplaneListener | undefined
  #started = { resolve: () => {}, reject: (_error: Error) => {} }

  constructor(options: NodeClusterOptions) {
    refuseUnknown(options, ['maxPendingBytes'])
    const send: SendPacket = (packet, callback) => process.send?.(packet, undefined, {}, callback)
    this.#outbox = new IpcOutbox(send, this.#name, readMaxPendingBytes(options), () => this.#tell())
  }

  get state(): BackplaneState {
    return this.#state
  }

  async start(listener: BackplaneListener): Promise<void> {
    if (this.#listener !== undefined) throw new Error('A backplane is started once')
    if (this.#state === 'closed') throw closedError()
    if (!cluster.isWorker) throw new Error('nodeClusterBackplane() is for the workers of node:cluster')
    this.#listener = listener
    process.on('message', this.#onMessage)
    process.on('disconnect', this.#onDisconnect)
    const started = new Promise<void>((resolve, reject) => {
      this.#started = { resolve, reject }
    })
    this.#sayHello()
    await started
  }

  publish(channel: string, bytes: Uint8Array): boolean {
    return this.#state === 'connected' && this.#outbox.pushMessage(channel, bytes)
  }

  subscribe(channel: string): Promise<void> {
    if (this.#state === 'closed') return Promise.reject(closedError())
    const confirmed = this.#channels.add(channel)
    this.#touch(channel)
    // It was not told yet that nobody wanted the channel for a moment, and has confirmed it already.
    if (this.#told.has(channel) && !this.#asked.has(channel)) this.#channels.confirm(channel)
    return confirmed
  }

  unsubscribe(channel: string): void {
    if (!this.#channels.has(channel)) return
    this.#channels.delete(channel)
    this.#touch(channel)
  }

  async close(): Promise<void> {
    if (this.#state === 'closed') return
    const wasConnected = this.#state === 'connected'
    this.#become('closed')
    process.off('message', this.#onMessage)
    process.off('disconnect', this.#onDisconnect)
    this.#channels.clear(closedError())
    this.#dirty.clear()
    this.#isGreeting = false
    this.#started.reject(closedError())
    if (this.#listener === undefined) return
    if (!wasConnected) this.#outbox.clear()
    this.#outbox.push(['bye']) // also before it has answered: it may know us already
    await Promise.race([this.#outbox.empty(), pause(CLOSE_MS, this.#closing.signal, false)])
    this.#closing.abort()
  }

  /** Nobody hears it while the primary does not serve; it says so when it does. */
  #sayHello(): void {
    this.#outbox.push(['hello', Buffer.from([0xff])])
    this.#isGreeting = true
    this.#told.clear()
    this.#asked.clear()
    this.#dirty.clear()
    for (const channel of this.#channels.names()) this.#dirty.add(channel)
    this.#tell()
  }

  /** A channel is wanted, or not any more. */
  #touch(channel: string): void {
    if (this.#listener === undefined) return
    if (this.#channels.has(channel) === this.#told.has(channel)) this.#dirty.delete(channel)
    else this.#dirty.add(channel)
    this.#tell()
  }

  /**
   * Tells the primary of subscriptions, as far as there is room; of one that came and went meanwhile it is
   * told nothing.
   */
  #tell(): void {
    for (const channel of this.#dirty) {
      if (!(this.#channels.has(channel) ? this.#ask(channel) : this.#leave(channel))) return
      this.#dirty.delete(channel)
    }
    if (!this.#isGreeting) return
    this.#isGreeting = false
    this.#outbox.push(['ready'])
  }

  #ask(channel: string): boolean {
    const id = this.#nextId++
    if (!this.#outbox.pushSubscription(['subscribe', channel, id])) return false
    this.#told.add(channel)
    this.#asked.set(channel, id)
    return true
  }

  #leave(channel: string): boolean {
    if (!this.#outbox.pushSubscription(['unsubscribe', channel])) return false
    this.#told.delete(channel)
    this.#asked.delete(channel)
    return true
  }

  #receive(message: unknown): void {
    if (!isPacket(message) || (message.peer !== this.#name && message.peer !== '')) return
    for (const entry of message.entries) this.#take(entry)
  }

  #take(entry: Entry): void {
    switch (entry[0]) {
      case 'message':
        this.#hear(entry[1], entry[2])
        break
      case 'subscribed':
        this.#confirm(entry[1], entry[2])
        break
      case 'welcome':
        this.#become('connected')
        this.#started.resolve()
        break
      case 'leaving':
        this.#goAway()
        break
      case 'serving':
        this.#goAway()
        this.#outbox.clear() // meant for whoever served before
        this.#sayHello()
        break
      case 'dropped':
        this.#report(new Error(`${entry[1]} messages were dropped: this process was too slow to read them`))
        break
      case 'refused':
        this.#refuse(new Error(entry[1]))
        break
    }
  }

  #confirm(channel: string, id: number): void {
    if (this.#asked.get(channel) !== id) return // the answer to an earlier subscription, which was undone
    this.#asked.delete(channel)
    this.#channels.confirm(channel)
  }

  #goAway(): void {
    if (this.#state === 'connected') this.#become('reconnecting')
  }

  #refuse(error: Error): void {
    this.#started.reject(error)
    void this.close()
  }

  #hear(channel: string, bytes: Uint8Array): void {
    if (!this.#channels.has(channel)) return
    try {
      this.#listener?.onMessage(channel, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
    } catch (error) {
      this.#report(error as Error) // thrown out of here, the rest of the packet would be lost
    }
  }

  #report(error: Error): void {
    if (this.#state !== 'closed') this.#listener?.onError(error)
  }

  #become(state: BackplaneState): void {
    if (this.#state === state || this.#state === 'closed') return
    this.#state = state
    this.#listener?.onStateChange(state)
  }
}

function closedError(): Error {
  return new Error('The backplane is closed')
}
