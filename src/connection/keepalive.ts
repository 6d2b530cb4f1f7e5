const NEVER = Number.POSITIVE_INFINITY

/** What a {@link Keepalive} remembers of a peer between two sweeps; times are in ms of its own clock. */
export class Liveness {
  /** `bytesRead` at the last sweep that saw it move. */
  bytesRead = 0
  /** When the peer was last heard. */
  heardAt = 0
  /** When a ping went out that nothing has followed yet; -1 when none is waiting. */
  pingedAt = -1
  /** When `expire` is due; -1 when nothing is. */
  deadlineAt = -1
  /** When `lapse` is due, in ms since the epoch; `Infinity` when nothing is. */
  expiresAt = NEVER
}

/** What a {@link Keepalive} needs to know and do about a connection. */
export interface KeepalivePeer {
  readonly liveness: Liveness
  /** Changes with each byte the peer sends, whatever the byte is part of, and while it takes what waits for it. */
  readonly bytesRead: number
  /** Whether the hub is not reading from the peer now: then its silence says nothing. */
  readonly isPaused: boolean
  /** Whether its end has begun, from whichever side. */
  readonly isClosing: boolean
  ping(): void
  /** Nothing came within `pongTimeoutMs` after a ping. */
  pongTimedOut(): void
  /** A deadline set with {@link Keepalive.setDeadline} has passed. */
  deadlinePassed(): void
  /** `liveness.lapseAt` has passed. */
  credentialExpired(): void
}

/** Sweeps are at most this far apart, and else an eighth of the shortest time to keep. */
const MAX_SWEEP_MS = 1_000

/** How often each peer is looked at within `pingIntervalMs`, and within `closeTimeoutMs`. */
const LOOKS = 8

/** All peers there are. */
export interface KeepalivePeers extends Iterable<KeepalivePeer> {
  readonly size: number
}

/**
 * Pings and deadlines for all connections from one timer.
 *
 * A look at a peer compares its socket's count of received bytes with the last one: any inbound traffic counts as alive,
 * a fragment of a long upload too, and the path of a message pays nothing. A peer whose end has begun gets a deadline
 * instead, whoever began it. The looks go round: a sweep takes as many peers as are due, and those that were pinged, or
 * have a deadline or a credential that expires, in any case; `npm run bench -- idle` measures it. Each time is kept to
 * within a quarter of itself.
 */
export class Keepalive {
  readonly #peers: KeepalivePeers
  /** Where the looks have come to. */
  #round: Iterator<KeepalivePeer> | undefined
  /** Those that were pinged and not heard since, and those with a deadline or a credential that expires. */
  readonly #watched = new Set<KeepalivePeer>()
  readonly #pingIntervalMs: number
  readonly #pongTimeoutMs: number
  readonly #closeTimeoutMs: number
  /** Time, in ms, in which each peer is looked at once. */
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
    },
    onSweep: () => void,
  ) {
    this.#peers = peers
    this.#pingIntervalMs = options.pingIntervalMs
    this.#pongTimeoutMs = options.pongTimeoutMs
    this.#closeTimeoutMs = options.closeTimeoutMs
    this.#roundMs = shortestOf(options.pingIntervalMs, options.closeTimeoutMs) / LOOKS
    this.#onSweep = onSweep
    const { pingIntervalMs, pongTimeoutMs, openTimeoutMs, closeTimeoutMs } = options
    const shortest = shortestOf(pingIntervalMs, pongTimeoutMs, openTimeoutMs, closeTimeoutMs)
    this.#sweepMs = Math.min(MAX_SWEEP_MS, Math.max(1, Math.floor(shortest / LOOKS)))
  }

  /** Starts the timer if it is not running; it never keeps the process alive. */
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

  /** Counts a new peer's silence from now. */
  watch(peer: KeepalivePeer): void {
    peer.liveness.bytesRead = peer.bytesRead
    peer.liveness.heardAt = this.#clock
  }

  /** A peer is gone. */
  forget(peer: KeepalivePeer): void {
    this.#watched.delete(peer)
  }

  /** Has `expire` called once, `ms` from now; 0 calls it off. */
  setDeadline(peer: KeepalivePeer, ms: number): void {
    peer.liveness.deadlineAt = ms === 0 ? -1 : this.#clock + ms
    if (ms > 0) this.#watched.add(peer)
  }

  /** Has `lapse` called once, at a time in ms since the epoch; `undefined` calls it off. */
  setExpiry(peer: KeepalivePeer, at: number | undefined): void {
    peer.liveness.expiresAt = at ?? NEVER
    if (at !== undefined) this.#watched.add(peer)
  }

  #sweep(): void {
    // A process that was stopped or stalled has not read what its clients sent meanwhile. So the clock goes on by two
    // sweeps at the most, and nobody is given up for the server's own silence.
    const now = performance.now()
    const passedMs = Math.min(Math.round(now - this.#sweptAt), 2 * this.#sweepMs)
    this.#clock += passedMs
    this.#sweptAt = now
    for (const peer of this.#watched) {
      this.#check(peer)
      const { deadlineAt, pingedAt, expiresAt: lapseAt } = peer.liveness
      if (deadlineAt < 0 && pingedAt < 0 && lapseAt === NEVER) this.#watched.delete(peer)
    }
    this.#goRound(passedMs / this.#roundMs)
    this.#onSweep()
  }

  /** Looks at a share of all peers, at most once at each. */
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
    if (liveness.expiresAt !== NEVER && liveness.expiresAt <= Date.now()) {
      liveness.expiresAt = NEVER
      peer.credentialExpired()
    }
    if (liveness.deadlineAt >= 0 && this.#clock >= liveness.deadlineAt) {
      liveness.deadlineAt = -1
      peer.deadlinePassed()
      return
    }
    if (peer.isClosing) {
      // The end may have begun where nothing tells: the client sent FIN, or somebody else closed a registered socket.
      if (liveness.deadlineAt < 0) this.setDeadline(peer, this.#closeTimeoutMs)
      return
    }
    const { bytesRead } = peer
    if (bytesRead !== liveness.bytesRead || peer.isPaused) {
      liveness.bytesRead = bytesRead
      liveness.heardAt = this.#clock
      liveness.pingedAt = -1
    } else if (liveness.pingedAt >= 0) {
      if (this.#clock - liveness.pingedAt >= this.#pongTimeoutMs) peer.pongTimedOut()
    } else if (this.#pingIntervalMs > 0 && this.#clock - liveness.heardAt >= this.#pingIntervalMs) {
      liveness.pingedAt = this.#clock
      this.#watched.add(peer)
      peer.ping()
    }
  }
}

/** The shortest of several times, without those that are 0. */
function shortestOf(...times: readonly number[]): number {
  return Math.min(...times.filter((ms) => ms > 0))
}
