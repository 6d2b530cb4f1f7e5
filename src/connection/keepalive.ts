import type { HeartbeatOptions } from './heartbeat.ts'

/** The state of a peer between two sweeps of a {@link Keepalive}; times are in ms of its own clock. */
export class Liveness {
  /** `bytesRead` at the last sweep that saw it change. */
  bytesRead = 0
  /** When the peer was last seen alive. */
  seenAt = 0
  /** When the ping was sent that is still unanswered; -1 when there is none. */
  pingedAt = -1
  /** When the peer was last pinged during a pause, or the pause was noticed; -1 while it is read. */
  pausedAt = -1
  /** `sender.messages` at the last check that saw it change. */
  messagesSent = 0
  /** When the peer was last seen to be sent something. */
  sentAt = 0
  /** When `deadlinePassed` is due; -1 = never. */
  deadlineAt = -1
  /** When `credentialExpired` is due, in ms since the epoch; `undefined` = never. */
  expiresAt: number | undefined
}

/** A connection, as a {@link Keepalive} sees it. */
export interface KeepalivePeer {
  readonly liveness: Liveness
  /** Changes with every byte that the peer sends, and while the peer reads what waits for it. */
  readonly bytesRead: number
  /**
   * Whether the hub has stopped reading from the peer. Then its silence proves nothing, and its end is not
   * noticed before something is written.
   */
  readonly isPaused: boolean
  readonly sender: {
    /** Changes with every message to the peer. */
    readonly messages: number
    ping(): void
    /** Nothing was sent to the peer for `heartbeat.everyMs`. */
    beat(): void
  }
  /** Whether either side has begun to close. */
  readonly isClosing: boolean
  /** The peer sent nothing within `pongTimeoutMs` after a ping. */
  pongTimedOut(): void
  /** A deadline set with {@link Keepalive.setDeadline} has passed. */
  deadlinePassed(): void
  /** `liveness.expiresAt` has passed. */
  credentialExpired(): void
}

/** The longest time between two sweeps; otherwise it is an eighth of the shortest timeout. */
const MAX_SWEEP_MS = 1_000

/** The number of checks of each peer within `pingIntervalMs`, `closeTimeoutMs` and `heartbeat.everyMs`. */
const CHECKS = 8

/** All peers of a {@link Keepalive}. */
export interface KeepalivePeers extends Iterable<KeepalivePeer> {
  readonly size: number
}

/**
 * Sends pings and enforces deadlines for all connections with one timer.
 *
 * A check compares the number of bytes that the peer has sent with that of the last check. So any inbound
 * traffic shows that a peer is alive, also a fragment of a long upload, and messages cost nothing extra. A
 * peer that is closing gets a deadline instead, whichever side began.
 *
 * Sweeps go round-robin: each checks a share of the peers, and in any case those that were pinged or have a
 * deadline or a time of expiry. `npm run bench -- idle` measures the cost. Timeouts are accurate to ±25 %.
 */
export class Keepalive {
  readonly #peers: KeepalivePeers
  /** The position in the current round. */
  #round: Iterator<KeepalivePeer> | undefined
  /** Peers with an unanswered ping, a deadline or a time of expiry: every sweep checks them. */
  readonly #watched = new Set<KeepalivePeer>()
  readonly #pingIntervalMs: number
  readonly #pongTimeoutMs: number
  readonly #closeTimeoutMs: number
  /** 0 = no heartbeat. */
  readonly #beatEveryMs: number
  /** Time, in ms, in which each peer is checked once. */
  readonly #roundMs: number
  readonly #sweepMs: number
  readonly #onSweep: () => void
  #timer: NodeJS.Timeout | undefined
  #clock = 0
  #sweptAt = 0

  constructor(
    peers: KeepalivePeers,
    options: {
      readonly pingIntervalMs: number
      readonly pongTimeoutMs: number
      readonly openTimeoutMs: number
      readonly closeTimeoutMs: number
      readonly heartbeat?: Readonly<HeartbeatOptions> | undefined
    },
    onSweep: () => void,
  ) {
    this.#peers = peers
    this.#pingIntervalMs = options.pingIntervalMs
    this.#pongTimeoutMs = options.pongTimeoutMs
    this.#closeTimeoutMs = options.closeTimeoutMs
    const beatEveryMs = options.heartbeat?.everyMs ?? 0
    this.#beatEveryMs = beatEveryMs
    this.#roundMs = shortestOf(options.pingIntervalMs, options.closeTimeoutMs, beatEveryMs) / CHECKS
    this.#onSweep = onSweep
    const { pingIntervalMs, pongTimeoutMs, openTimeoutMs, closeTimeoutMs } = options
    const shortest = shortestOf(pingIntervalMs, pongTimeoutMs, openTimeoutMs, closeTimeoutMs, beatEveryMs)
    this.#sweepMs = Math.min(MAX_SWEEP_MS, Math.max(1, Math.floor(shortest / CHECKS)))
  }

  /** Starts the timer unless it is running. It does not keep the process alive. */
  start(): void {
    if (this.#timer !== undefined) return
    this.#sweptAt = performance.now()
    this.#timer = setInterval(() => this.#sweep(), this.#sweepMs).unref()
  }

  /** Stops the timer. */
  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#round = undefined
  }

  /** Counts the silence of a new peer, and that of the hub towards it, from now. */
  watch(peer: KeepalivePeer): void {
    peer.liveness.bytesRead = peer.bytesRead
    peer.liveness.seenAt = this.#clock
    peer.liveness.messagesSent = peer.sender.messages
    peer.liveness.sentAt = this.#clock
  }

  /** Stops watching a peer that is closed. */
  forget(peer: KeepalivePeer): void {
    this.#watched.delete(peer)
  }

  /** Calls `deadlinePassed` once, `ms` from now; 0 cancels that. */
  setDeadline(peer: KeepalivePeer, ms: number): void {
    peer.liveness.deadlineAt = ms === 0 ? -1 : this.#clock + ms
    if (ms > 0) this.#watched.add(peer)
  }

  /** Calls `credentialExpired` once, at a time in ms since the epoch; `undefined` cancels that. */
  setExpiry(peer: KeepalivePeer, at: number | undefined): void {
    peer.liveness.expiresAt = at
    if (at !== undefined) this.#watched.add(peer)
  }

  #sweep(): void {
    // A process that was stopped or blocked has not read what its clients sent meanwhile. So the clock
    // advances by two sweeps at most, and no client times out because the server was silent.
    const now = performance.now()
    const passedMs = Math.min(Math.round(now - this.#sweptAt), 2 * this.#sweepMs)
    this.#clock += passedMs
    this.#sweptAt = now
    for (const peer of this.#watched) {
      this.#check(peer)
      const { deadlineAt, pingedAt, expiresAt } = peer.liveness
      if (deadlineAt < 0 && pingedAt < 0 && expiresAt === undefined) this.#watched.delete(peer)
    }
    this.#goRound(passedMs / this.#roundMs)
    this.#onSweep()
  }

  /** Checks a share of all peers, each at most once. */
  #goRound(share: number): void {
    for (let due = Math.ceil(this.#peers.size * Math.min(1, share)); due > 0; due--) {
      let next = this.#round?.next()
      if (next === undefined || next.done) {
        this.#round = this.#peers[Symbol.iterator]()
        next = this.#round.next()
      }
      if (next.done) return
      this.#check(next.value)
    }
  }

  #check(peer: KeepalivePeer): void {
    const { liveness } = peer
    if (liveness.expiresAt !== undefined && liveness.expiresAt <= Date.now()) {
      liveness.expiresAt = undefined
      peer.credentialExpired()
    }
    if (liveness.deadlineAt >= 0 && this.#clock >= liveness.deadlineAt) {
      liveness.deadlineAt = -1
      peer.deadlinePassed()
      return
    }
    if (peer.isClosing) {
      // No event may have announced it: the client sent FIN, or somebody else closed a registered socket.
      if (liveness.deadlineAt < 0) this.setDeadline(peer, this.#closeTimeoutMs)
      return
    }
    if (this.#beatEveryMs > 0) this.#beat(peer)
    const { bytesRead, isPaused } = peer
    if (isPaused) this.#pingPaused(peer)
    else liveness.pausedAt = -1
    if (bytesRead !== liveness.bytesRead || isPaused) {
      liveness.bytesRead = bytesRead
      liveness.seenAt = this.#clock
      liveness.pingedAt = -1
    } else if (liveness.pingedAt >= 0) {
      if (this.#clock - liveness.pingedAt >= this.#pongTimeoutMs) peer.pongTimedOut()
    } else if (this.#pingIntervalMs > 0 && this.#clock - liveness.seenAt >= this.#pingIntervalMs) {
      liveness.pingedAt = this.#clock
      this.#watched.add(peer)
      peer.sender.ping()
    }
  }

  #beat(peer: KeepalivePeer): void {
    const { liveness, sender } = peer
    if (sender.messages === liveness.messagesSent) {
      if (this.#clock - liveness.sentAt < this.#beatEveryMs) return
      sender.beat()
    }
    liveness.messagesSent = sender.messages
    liveness.sentAt = this.#clock
  }

  /** Pings a peer that cannot answer: if it has disconnected, the system closes its socket. */
  #pingPaused(peer: KeepalivePeer): void {
    const { liveness } = peer
    if (liveness.pausedAt < 0) liveness.pausedAt = this.#clock
    if (this.#pingIntervalMs === 0 || this.#clock - liveness.pausedAt < this.#pingIntervalMs) return
    liveness.pausedAt = this.#clock
    peer.sender.ping()
  }
}

/** Returns the shortest of several times, without those that are 0. */
function shortestOf(...times: readonly number[]): number {
  return Math.min(...times.filter((ms) => ms > 0))
}
