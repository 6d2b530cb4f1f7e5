import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { WebSocketServer } from 'ws'
import { Keepalive } from '../../src/connection/keepalive.ts'
import { Client, eventually, serve } from '../support/hub-server.ts'
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
    expect(peer.events).not.toContain('pongTimedOut')
    peer.isPaused = false
    const before = peer.events.length
    vi.advanceTimersByTime(870)
    expect(peer.events).toHaveLength(before)
    vi.advanceTimersByTime(230)
    expect(peer.events).toHaveLength(before + 1)
  })

  it('pings a peer that connects late and is paused at once after pingIntervalMs, not before', () => {
    const peers = new Set<Peer>()
    const keepalive = new Keepalive(peers, times, () => {})
    keepalive.start()
    vi.advanceTimersByTime(60_000)
    const peer = new Peer(false)
    peer.isPaused = true
    peers.add(peer)
    keepalive.watch(peer)
    vi.advanceTimersByTime(999)
    expect(peer.events).toEqual([])
    vi.advanceTimersByTime(251)
    expect(peer.events).toHaveLength(1)
  })

  it('pings a paused peer every pingIntervalMs, and not one that is paused for less', () => {
    const [paused, iterated] = [new Peer(false), new Peer(false)]
    watching([paused, iterated])
    paused.isPaused = true
    for (let i = 0; i < 20; i++) {
      iterated.isPaused = true
      vi.advanceTimersByTime(400)
      iterated.isPaused = false
      vi.advanceTimersByTime(100)
    }
    expect(paused.events.length).toBeGreaterThanOrEqual(8)
    expect(paused.events.length).toBeLessThanOrEqual(10)
    expect(iterated.events).toEqual([])
  })

  it('never pings with pingIntervalMs 0', () => {
    const [peer, paused] = [new Peer(false), new Peer(false)]
    watching([peer, paused], { pingIntervalMs: 0 })
    paused.isPaused = true
    vi.advanceTimersByTime(600_000)
    expect([peer.events, paused.events]).toEqual([[], []])
  })

  it('sends a heartbeat after everyMs without a message, and again', () => {
    const [peer, sender] = [new Peer(true), new Peer(true)]
    watching([peer, sender], { pingIntervalMs: 0, heartbeat: { everyMs: 400 } })
    vi.advanceTimersByTime(399)
    expect(peer.events).toEqual([])
    vi.advanceTimersByTime(101)
    expect(peer.events).toEqual(['beat'])
    for (let i = 0; i < 20; i++) {
      sender.sender.messages++
      vi.advanceTimersByTime(200)
    }
    expect(sender.events).toEqual(['beat'])
    expect(peer.events.length).toBeGreaterThanOrEqual(8)
    expect(peer.events.length).toBeLessThanOrEqual(11)
  })

  it('sends a heartbeat to a peer that sends, or is paused, but to none that is closing', () => {
    const [sending, paused, closing] = [new Peer(true), new Peer(true), new Peer(true)]
    watching([sending, paused, closing], { heartbeat: { everyMs: 400 } })
    paused.isPaused = true
    closing.isClosing = true
    for (let i = 0; i < 9; i++) {
      sending.bytesRead++
      vi.advanceTimersByTime(50)
    }
    expect([sending.events, paused.events, closing.events]).toEqual([['beat'], ['beat'], []])
  })

  it('sends no heartbeat without heartbeat', () => {
    const peer = new Peer(true)
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

  it('does not call credentialExpired once the expiry was cancelled', () => {
    const peer = new Peer(true)
    const keepalive = watching([peer], { pingIntervalMs: 0 })
    keepalive.setExpiry(peer, Date.now() + 500)
    vi.advanceTimersByTime(400)
    keepalive.setExpiry(peer, undefined)
    vi.advanceTimersByTime(5_000)
    expect(peer.events).toEqual([])
  })
})

describe('The heartbeat of a hub', () => {
  it('is an empty text message to each connection that was sent none for everyMs', async () => {
    const { connect, hub } = await serve({ heartbeat: { everyMs: 40 } })
    const { client } = await connect()
    await client.received.until('two heartbeats', ({ length }) => length >= 2)
    hub.broadcast('x')
    expect(new Set(await client.upTo('x'))).toEqual(new Set(['']))
    expect(hub.stats().sentMessages).toBe(1)
  })

  it('is a text frame without a payload, uncompressed', async () => {
    const { connectRaw } = await serve({
      heartbeat: { everyMs: 40 },
      enableCompression: { thresholdBytes: 0 },
    })
    const { client } = await connectRaw(['Sec-WebSocket-Extensions: permessage-deflate'])
    const frame = await client.frames.first('a heartbeat', () => true)
    expect([...frame.encode()]).toEqual([0x81, 0])
  })

  it('is not queued for a client that does not read', async () => {
    const { connectRaw } = await serve({ heartbeat: { everyMs: 20 }, maxBufferedBytes: 100_000_000 })
    const { client, connection } = await connectRaw()
    const { client: other } = await connectRaw()
    client.socket.pause()
    const message = Buffer.alloc(1_000_000)
    for (let i = 0; i < 20; i++) connection.sendBinary(message)
    await eventually(
      'the socket to be congested',
      () => connection.bufferedBytes > 0,
      () => connection.bufferedBytes,
    )
    const before = other.frames.all.length
    await other.frames.until('five heartbeats of another client', ({ length }) => length >= before + 5)
    connection.sendText('marker')
    client.socket.resume()
    await client.frames.first('the marker', ({ payload }) => payload.toString() === 'marker')
    const lengths = client.frames.all.map(({ payload }) => payload.length)
    const waiting = lengths.slice(lengths.indexOf(message.length), lengths.indexOf('marker'.length))
    expect(waiting).toEqual(Array(20).fill(message.length))
  })

  it('reaches a WebSocket that was opened elsewhere', async () => {
    const { hub, port } = await serve({ heartbeat: { everyMs: 20 } })
    const wss = new WebSocketServer({ port: 0, host: '127.0.0.1' })
    onTestFinished(() => wss.close())
    await once(wss, 'listening')
    wss.on('connection', (ws) => void hub.register(ws, {}))
    const { port: other } = wss.address() as AddressInfo // the server listens on TCP
    expect(other).not.toBe(port)
    const client = await Client.open(`ws://127.0.0.1:${other}`)
    expect(await client.received.first('a heartbeat', () => true)).toBe('')
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
