import cluster from 'node:cluster'
import { randomUUID } from 'node:crypto'
import { type Backplane, BackplaneLife, type BackplaneListener, type BackplaneState } from 'wshub'
import { pause } from '../backplane/backoff.ts'
import { readMaxPendingBytes, refuseUnknown } from '../backplane/backplane-options.ts'
import { closeMs } from '../backplane/close-time.ts'
import { type Entry, IpcOutbox, isPacket, type SendPacket } from './ipc-outbox.ts'
import { PrimaryRouter } from './primary-router.ts'

/**
 * Limits of the channel between the processes: of a worker's backplane, and of the primary for each worker.
 */
export interface NodeClusterOptions {
  /**
   * Most bytes, of messages and of subscriptions, that the other process has not received yet, 1 or more.
   * Above it, `publish` returns `false`, and subscriptions wait. Default 16 777 216.
   */
  maxPendingBytes?: number | undefined
}

/** Why messages that wait for the primary are lost when it calls the function of `serveNodeCluster`. */
const STOPPED = 'the primary has stopped serving'

/**
 * In the primary: passes the messages of the workers' backplanes on to the workers that are subscribed. The
 * cluster must be set up with `cluster.setupPrimary({ serialization: 'advanced' })`.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION
 * @returns a function that stops it: the workers' backplanes are `reconnecting` until it is called again
 */
export function serveNodeCluster(options: NodeClusterOptions = {}): () => void {
  refuseUnknown(options, ['maxPendingBytes'])
  const router = new PrimaryRouter(readMaxPendingBytes(options))
  return () => router.close()
}

/**
 * In a worker: returns a backplane over the primary, which calls {@link serveNodeCluster}. It needs no
 * broker.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION
 */
export function nodeClusterBackplane(options: NodeClusterOptions = {}): Backplane {
  return new NodeClusterBackplane(options)
}

class NodeClusterBackplane implements Backplane {
  readonly #name = randomUUID()
  readonly #life = new BackplaneLife()
  readonly #outbox: IpcOutbox
  readonly #onMessage = (message: unknown) => this.#receive(message)
  /** The channel to the primary is closed for good. */
  readonly #onDisconnect = () => void this.close()
  /** Channels that the primary was asked to send. */
  readonly #told = new Set<string>()
  /** Channels that were subscribed or unsubscribed since the primary was last told. */
  readonly #dirty = new Set<string>()
  /** Channels that the primary has not confirmed yet, with the id of the request. */
  readonly #asked = new Map<string, number>()
  /** Whether `hello` was sent, and not yet every subscription. */
  #isGreeting = false
  #nextId = 0

  constructor(options: NodeClusterOptions) {
    refuseUnknown(options, ['maxPendingBytes'])
    const send: SendPacket = (packet, callback) => process.send?.(packet, undefined, {}, callback)
    this.#outbox = new IpcOutbox(send, this.#name, readMaxPendingBytes(options), {
      hasRoom: () => this.#tell(),
      lost: (messages, { message }) => this.#lose(messages, message),
    })
  }

  get state(): BackplaneState {
    return this.#life.state
  }

  async start(listener: BackplaneListener): Promise<void> {
    if (!cluster.isWorker)
      throw new Error('nodeClusterBackplane() must be called in a worker of node:cluster')
    await this.#life.start(listener, () => {
      process.on('message', this.#onMessage)
      process.on('disconnect', this.#onDisconnect)
      this.#sayHello()
    })
  }

  publish(channel: string, bytes: Uint8Array): boolean {
    return this.state === 'connected' && this.#outbox.pushMessage(channel, bytes)
  }

  subscribe(channel: string): Promise<void> {
    return this.#life.subscribe(channel, () => {
      this.#touch(channel)
      // Unsubscribed and subscribed again before the primary was told: it has confirmed the channel already.
      if (this.#told.has(channel) && !this.#asked.has(channel)) this.#life.channels.confirm(channel)
    })
  }

  unsubscribe(channel: string): void {
    if (!this.#life.channels.has(channel)) return
    this.#life.channels.delete(channel)
    this.#touch(channel)
  }

  async close(timeoutMs?: number): Promise<void> {
    const before = this.#life.close()
    if (before === 'closed') return
    process.off('message', this.#onMessage)
    process.off('disconnect', this.#onDisconnect)
    this.#dirty.clear()
    this.#isGreeting = false
    if (!this.#life.isStarted) return
    if (before !== 'connected') this.#lose(this.#outbox.clear(), STOPPED)
    this.#outbox.push(['bye']) // also before the primary has answered: it may know this backplane already
    const ms = closeMs(timeoutMs)
    const sent = new AbortController()
    await Promise.race([this.#outbox.empty(), pause(ms, sent.signal, false)])
    sent.abort()
    this.#lose(this.#outbox.abandon(), `the primary has not read them within ${ms} ms`)
  }

  /**
   * Registers with the primary. When the primary does not serve yet, it sends `serving` as soon as it does.
   */
  #sayHello(): void {
    this.#outbox.push(['hello', Buffer.from([0xff])])
    this.#isGreeting = true
    this.#told.clear()
    this.#asked.clear()
    this.#dirty.clear()
    for (const channel of this.#life.channels.names()) this.#dirty.add(channel)
    this.#tell()
  }

  /** Called when a channel was subscribed or unsubscribed. */
  #touch(channel: string): void {
    if (!this.#life.isStarted) return
    if (this.#life.channels.has(channel) === this.#told.has(channel)) this.#dirty.delete(channel)
    else this.#dirty.add(channel)
    this.#tell()
  }

  /**
   * Sends changed subscriptions to the primary while there is room. Nothing is sent for a channel that was
   * subscribed and unsubscribed in between.
   */
  #tell(): void {
    for (const channel of this.#dirty) {
      if (!(this.#life.channels.has(channel) ? this.#ask(channel) : this.#leave(channel))) return
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
        this.#life.receive(entry[1], entry[2])
        break
      case 'subscribed':
        this.#confirm(entry[1], entry[2])
        break
      case 'welcome':
        this.#life.connected()
        break
      case 'leaving':
        this.#life.disconnected()
        this.#lose(this.#outbox.clear(), STOPPED)
        break
      case 'serving':
        this.#life.disconnected()
        this.#lose(this.#outbox.clear(), STOPPED) // meant for the router before this one
        this.#sayHello()
        break
      case 'dropped':
        this.#life.report(
          new Error(`${entry[1]} messages were dropped: this process was too slow to read them`),
        )
        break
      case 'refused':
        this.#life.failStart(new Error(entry[1]))
        void this.close()
        break
    }
  }

  /** Reports messages that were accepted and that the primary has not passed on. */
  #lose(messages: number, why: string): void {
    if (messages > 0) this.#life.lost(`${messages === 1 ? '1 message' : `${messages} messages`} (${why})`)
  }

  #confirm(channel: string, id: number): void {
    if (this.#asked.get(channel) !== id) return // the answer to an earlier request, which was undone
    this.#asked.delete(channel)
    this.#life.channels.confirm(channel)
  }
}
