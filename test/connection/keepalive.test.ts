import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Keepalive, type KeepalivePeer, Liveness } from '../../src/connection/keepalive.ts'
import { eventually, serve } from '../support/hub-server.ts'

class Peer implements KeepalivePeer {
  readonly liveness = new Liveness()
  bytesRead = 0
  isPaused = false
  isClosing = false
  readonly answers: boolean
  readonly events: string[] = []
  constructor(answers: boolean) {
    this.answers = answers
  }
  ping(): void {
    this.events.push(`ping ${Math.round(performance.now())}`)
    if (this.answers) this.bytesRead += 2
  }
  pongTimedOut(): void {
    this.events.push('pongTimedOut')
  }
  deadlinePassed(): void {
    this.events.push('deadlinePassed')
  }
  credentialExpired(): void {
    this.events.push('credentialExpired')
  }
}

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

  it('has one timer, however often it is started', () => {
    const keepalive = watching([new Peer(true), new Peer(true)])
    keepalive.start()
    expect(vi.getTimerCount()).toBe(1)
    keepalive.stop()
    expect(vi.getTimerCount()).toBe(0)
  })

  it('pings after pingIntervalMs of silence, and again', () => {
    const peer = new Peer(true)
    const start = Math.round(performance.now())
    watching([peer])
    vi.advanceTimersByTime(999)
    expect(peer.events).toEqual([])
    vi.advanceTimersByTime(51)
    expect(peer.events).toHaveLength(1)
    const at = Number(peer.events[0]?.split(' ')[1]) - start
    expect(at).toBeGreaterThanOrEqual(1_000)
    expect(at).toBeLessThanOrEqual(1_100)
    vi.advanceTimersByTime(10_000)
    expect(peer.events.length).toBeGreaterThanOrEqual(9)
    expect(peer.events).not.toContain('pongTimedOut')
  })

  it('counts any inbound byte as a sign of life', () => {
    const peer = new Peer(false)
    watching([peer])
    for (let i = 0; i < 20; i++) {
      vi.advanceTimersByTime(500)
      peer.bytesRead++
    }
    expect(peer.events).toEqual([])
  })

  it('calls pongTimedOut when a peer sends nothing within pongTimeoutMs after a ping', () => {
    const peer = new Peer(false)
    watching([peer])
    vi.advanceTimersByTime(1_000 + 399)
    expect(peer.events).toHaveLength(1)
    vi.advanceTimersByTime(101)
    expect(peer.events[1]).toBe('pongTimedOut')
  })

  it('tolerates the silence of a paused peer, and counts it from the end of the pause', () => {
    const peer = new Peer(false)
    watching([peer])
    peer.isPaused = true
    vi.advanceTimersByTime(60_000)
    expect(peer.events).toEqual([])
    peer.isPaused = false
    vi.advanceTimersByTime(870)
    expect(peer.events).toEqual([])
    vi.advanceTimersByTime(230)
    expect(peer.events).toHaveLength(1)
  })

  it('never pings with pingIntervalMs 0', () => {
    const peer = new Peer(false)
    watching([peer], { pingIntervalMs: 0 })
    vi.advanceTimersByTime(600_000)
    expect(peer.events).toEqual([])
  })

  it('calls credentialExpired once when expiresAt has passed, by the wall clock', () => {
    const peer = new Peer(true)
    const other = new Peer(true)
    const keepalive = watching([peer, other], { pingIntervalMs: 0 })
    keepalive.setExpiry(peer, Date.now() + 3_000)
    vi.advanceTimersByTime(2_900)
    expect(peer.events).toEqual([])
    vi.advanceTimersByTime(200)
    expect(peer.events).toEqual(['credentialExpired'])
    vi.advanceTimersByTime(60_000)
    expect([peer.events, other.events]).toEqual([['credentialExpired'], []])
  })

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

  it('calls deadlinePassed once when a deadline has passed, and not when it was cancelled', () => {
    const [late, saved] = [new Peer(true), new Peer(true)]
    const keepalive = watching([late, saved], { pingIntervalMs: 0 })
    keepalive.setDeadline(late, 800)
    keepalive.setDeadline(saved, 800)
    vi.advanceTimersByTime(799)
    expect(late.events).toEqual([])
    keepalive.setDeadline(saved, 0)
    vi.advanceTimersByTime(5_000)
    expect(late.events).toEqual(['deadlinePassed'])
    expect(saved.events).toEqual([])
  })

  it.each([0, 1_000, 3_600_000])(
    'calls deadlinePassed within a quarter after closeTimeoutMs for a peer that has begun to close, with pingIntervalMs %d',
    (pingIntervalMs) => {
      const [closing, other] = [new Peer(true), new Peer(true)]
      watching([closing, other], { pingIntervalMs })
      vi.advanceTimersByTime(500)
      closing.isClosing = true
      vi.advanceTimersByTime(799)
      expect(closing.events).toEqual([])
      vi.advanceTimersByTime(201)
      expect(closing.events).toEqual(['deadlinePassed'])
      expect(other.events).not.toContain('deadlinePassed')
    },
  )

  it('keeps the deadline of a peer that has one when it begins to close', () => {
    const peer = new Peer(true)
    const keepalive = watching([peer], { pingIntervalMs: 0 })
    keepalive.setDeadline(peer, 400)
    peer.isClosing = true
    vi.advanceTimersByTime(500)
    expect(peer.events).toEqual(['deadlinePassed'])
  })
})

describe('The keepalive of a hub', () => {
  it('has a timer from the first connection to the last', async () => {
    const start = vi.spyOn(globalThis, 'setInterval')
    const end = vi.spyOn(globalThis, 'clearInterval')
    const { connect, hub } = await serve({ pingIntervalMs: 7_992 })
    const mine = () =>
      start.mock.calls.flatMap(([, ms], i) => (ms === 999 ? [start.mock.results[i]?.value] : []))
    expect(mine()).toHaveLength(0)
    const { client } = await connect()
    const { client: other } = await connect()
    expect(mine()).toHaveLength(1)
    await client.close()
    await eventually(
      'one to be closed',
      () => hub.size === 1,
      () => hub.size,
    )
    expect(end.mock.calls.flat()).not.toContain(mine()[0])
    await other.close()
    await eventually(
      'both to be closed',
      () => hub.size === 0,
      () => hub.size,
    )
    expect(end.mock.calls.flat()).toContain(mine()[0])
    vi.restoreAllMocks()
  })
})
