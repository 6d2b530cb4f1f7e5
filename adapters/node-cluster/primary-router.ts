import cluster, { type Worker } from 'node:cluster'
import { isUint8Array } from 'node:util/types'
import { type Entry, IpcOutbox, isPacket, type SendPacket } from './ipc-outbox.ts'

/** The reason sent to a worker when binary data does not arrive as such. */
const NOT_ADVANCED =
  "node:cluster passes JSON: call cluster.setupPrimary({ serialization: 'advanced' }) before the first fork"

/** One backplane of a worker, as the primary knows it. */
interface Peer {
  readonly worker: Worker
  readonly outbox: IpcOutbox
  readonly channels: Set<string>
  /** Subscriptions that are not confirmed to it yet, with their ids. */
  readonly unconfirmed: Map<string, number>
  /** Messages dropped because it reads too slowly, since the last report to it. */
  dropped: number
}

/** In the primary: passes the messages of the workers' backplanes on to the workers that are subscribed. */
export class PrimaryRouter {
  readonly #maxPendingBytes: number
  /** The key is the id of the worker and the name of the backplane. */
  readonly #peers = new Map<string, Peer>()
  readonly #channels = new Map<string, Set<Peer>>()
  readonly #onMessage = (worker: Worker, message: unknown) => this.#receive(worker, message)
  readonly #onExit = (worker: Worker) => this.#removeWorker(worker)

  /** @param maxPendingBytes most bytes that a worker has not received yet */
  constructor(maxPendingBytes: number) {
    this.#maxPendingBytes = maxPendingBytes
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

  /** Sends an entry to all workers, also unknown ones: they may have sent `hello` before anybody served. */
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
    if (peer === undefined) return // meant for the router before this one; the worker sends `hello` again
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
    const outbox = new IpcOutbox(send, name, this.#maxPendingBytes, { hasRoom: () => this.#confirm(peer) })
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
