import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Keepalive } from '../../src/connection/keepalive.ts'
import { Peer } from './keepalive-peer.ts'

const times = { pingIntervalMs: 1_000, pongTimeoutMs: 400, openTimeoutMs: 800, closeTimeoutMs: 800 }

describe('Keepalive', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
    vi.restoreAllMocks()
  })

  function watching(peers: Peer[], options = {}) {
    const keepalive = new Keepalive(new Set(peers), { ...times, ...options }, () => {})
    keepalive.start()
    for (const peer of peers) keepalive.watch(peer)
    return keepalive
  }

  it('lets no peer time out when its own process was blocked', () => {
    const peer = new Peer(false)
    watching([peer])
    vi.advanceTimersByTime(1_050)
    expect(peer.events).toHaveLength(1)
    const now = performance.now.bind(performance)
    vi.spyOn(performance, 'now').mockImplementation(() => now() + 3_600_000)
    vi.advanceTimersByTime(50)
    expect(peer.events).toHaveLength(1)
    peer.bytesRead++
    vi.advanceTimersByTime(500)
    expect(peer.events).toHaveLength(1)
  })

  it.each([
    [{}, 50],
    [{ pingIntervalMs: 80 }, 10],
    [{ openTimeoutMs: 160 }, 20],
    [{ closeTimeoutMs: 247 }, 30],
    [{ pongTimeoutMs: 3 }, 1],
    [{ pingIntervalMs: 0, pongTimeoutMs: 0, openTimeoutMs: 0, closeTimeoutMs: 4_000 }, 500],
    [{ pingIntervalMs: 0, pongTimeoutMs: 9_000, openTimeoutMs: 9_000, closeTimeoutMs: 9_000 }, 1_000],
  ])('sweeps with %o every %d ms: an eighth of the shortest timeout, between 1 ms and 1 s', (options, ms) => {
    const sweeps = vi.fn()
    const keepalive = new Keepalive(new Set(), { ...times, ...options }, sweeps)
    keepalive.start()
    vi.advanceTimersByTime(ms - 1)
    expect(sweeps).not.toHaveBeenCalled()
    vi.advanceTimersByTime(1)
    expect(sweeps).toHaveBeenCalledTimes(1)
    vi.advanceTimersByTime(9 * ms)
    expect(sweeps).toHaveBeenCalledTimes(10)
    keepalive.stop()
    vi.advanceTimersByTime(10 * ms)
    expect(sweeps).toHaveBeenCalledTimes(10)
  })

  /** Eight peers, and how often each of them was checked. */
  function countLooks() {
    const looks = Array<number>(8).fill(0)
    const peers = looks.map((_, place) => {
      const isClosing = (): boolean => {
        looks[place] = (looks[place] ?? 0) + 1
        return false
      }
      return Object.defineProperty(new Peer(true), 'isClosing', { get: isClosing })
    })
    return { looks, peers }
  }

  it('checks each peer once in an eighth of the shorter of pingIntervalMs and closeTimeoutMs', () => {
    const { looks, peers } = countLooks()
    watching(peers, { pingIntervalMs: 100_000, pongTimeoutMs: 200 }) // sweeps every 25 ms, a round takes 100
    const seen: string[] = []
    for (let sweep = 0; sweep < 8; sweep++) {
      vi.advanceTimersByTime(25)
      seen.push(looks.join(''))
    }
    expect(seen).toEqual([
      '11000000',
      '11110000',
      '11111100',
      '11111111',
      '22111111',
      '22221111',
      '22222211',
      '22222222',
    ])
  })

  it('checks a peer at each sweep only while it has a deadline, an expiry or an unanswered ping', () => {
    const { looks, peers } = countLooks()
    const [peer] = peers
    if (peer === undefined) throw new Error('eight peers')
    const keepalive = watching(peers, { pingIntervalMs: 100_000, pongTimeoutMs: 200 }) // as above
    const looksInRound = () => {
      looks.fill(0)
      vi.advanceTimersByTime(100)
      return looks.join('')
    }
    keepalive.setDeadline(peer, 10_000)
    expect(looksInRound()).toBe('51111111')
    keepalive.setExpiry(peer, Date.now() + 10_000)
    keepalive.setDeadline(peer, 0)
    expect(looksInRound()).toBe('51111111')
    keepalive.setExpiry(peer, undefined)
    vi.advanceTimersByTime(100)
    expect(looksInRound()).toBe('11111111')
  })

  it.each([0, 100])('counts the silence of a new peer that has sent %d bytes from its beginning', (bytes) => {
    const peers = new Set<Peer>()
    const keepalive = new Keepalive(peers, times, () => {})
    keepalive.start()
    vi.advanceTimersByTime(5_000)
    const peer = new Peer(true)
    peer.bytesRead = bytes
    peers.add(peer)
    keepalive.watch(peer)
    vi.advanceTimersByTime(999)
    expect(peer.events).toEqual([])
    vi.advanceTimersByTime(1)
    expect(peer.events).toHaveLength(1)
    keepalive.stop()
  })

  /** A sweep every 50 ms, each a whole round. */
  const eachSweep = { closeTimeoutMs: 400 }

  it('acts at the sweep at which a time has passed, no later', () => {
    const [silent, late, expired, paused] = [false, true, true, false].map((answers) => new Peer(answers))
    if (!silent || !late || !expired || !paused) throw new Error('four peers')
    const keepalive = watching([silent, late, expired, paused], eachSweep)
    paused.isPaused = true
    keepalive.setDeadline(late, 600)
    keepalive.setExpiry(expired, Date.now() + 600)
    vi.advanceTimersByTime(599)
    expect([late.events, expired.events]).toEqual([[], []])
    vi.advanceTimersByTime(1)
    expect([late.events, expired.events]).toEqual([['deadlinePassed'], ['credentialExpired']])
    vi.advanceTimersByTime(399)
    expect(silent.events).toEqual([])
    vi.advanceTimersByTime(1)
    expect(silent.events).toHaveLength(1)
    vi.advanceTimersByTime(399)
    expect(silent.events).toHaveLength(1)
    vi.advanceTimersByTime(1)
    expect(silent.events[1]).toBe('pongTimedOut')
    expect(paused.events).toHaveLength(1)
    vi.advanceTimersByTime(649) // its pause was noticed at the first sweep, after 50 ms
    expect(paused.events).toHaveLength(1)
    vi.advanceTimersByTime(1)
    expect(paused.events).toHaveLength(2)
  })

  it('sends a heartbeat at the sweep at which everyMs has passed, no later', () => {
    const peer = new Peer(true)
    watching([peer], { pingIntervalMs: 0, heartbeat: { everyMs: 400 } }) // a sweep every 50 ms, each a whole round
    for (const beats of [['beat'], ['beat', 'beat']]) {
      vi.advanceTimersByTime(399)
      expect(peer.events).toEqual(beats.slice(1))
      vi.advanceTimersByTime(1)
      expect(peer.events).toEqual(beats)
    }
  })

  it('ends a sweep in which all peers were removed', () => {
    const peers = new Set<Peer>()
    const sweeps = vi.fn()
    const keepalive = new Keepalive(peers, { ...times, ...eachSweep }, sweeps)
    class LastPeer extends Peer {
      override pinged(): void {
        super.pinged()
        peers.clear()
      }
    }
    const pair = [new LastPeer(false), new LastPeer(false)]
    for (const peer of pair) {
      peers.add(peer)
      keepalive.watch(peer)
    }
    keepalive.start()
    vi.advanceTimersByTime(1_100)
    expect(pair.map(({ events }) => events.length)).toEqual([1, 0])
    expect(sweeps).toHaveBeenCalledTimes(22)
    keepalive.stop()
  })

  it('calls no method of a peer that it forgot', () => {
    const peers = new Set([new Peer(true), new Peer(true)])
    const [peer, other] = peers
    if (peer === undefined || other === undefined) throw new Error('two peers')
    const keepalive = new Keepalive(peers, { ...times, pingIntervalMs: 0 }, () => {})
    keepalive.start()
    for (const each of peers) {
      keepalive.setDeadline(each, 400)
      keepalive.setExpiry(each, Date.now() + 200)
    }
    peers.delete(peer)
    keepalive.forget(peer)
    vi.advanceTimersByTime(5_000)
    expect(peer.events).toEqual([])
    expect(other.events).toEqual(['credentialExpired', 'deadlinePassed'])
    keepalive.stop()
  })

  it('is accurate for a deadline, an expiry and an unanswered ping among very many peers', () => {
    const peers = Array.from({ length: 1_000 }, () => new Peer(true))
    const [deadline, expiry] = peers.slice(-2)
    const silent = new Peer(false)
    if (deadline === undefined || expiry === undefined) throw new Error('two peers')
    const keepalive = watching([...peers, silent], { pingIntervalMs: 100_000, closeTimeoutMs: 100_000 })
    keepalive.setDeadline(deadline, 1_000)
    keepalive.setExpiry(expiry, Date.now() + 1_000)
    vi.advanceTimersByTime(1_050)
    expect([deadline.events, expiry.events]).toEqual([['deadlinePassed'], ['credentialExpired']])
    vi.advanceTimersByTime(99_000)
    for (let i = 0; i < 500 && silent.events.length === 0; i++) vi.advanceTimersByTime(50)
    vi.advanceTimersByTime(350)
    expect(silent.events).toHaveLength(1)
    vi.advanceTimersByTime(100)
    expect(silent.events[1]).toBe('pongTimedOut')
  })
})
