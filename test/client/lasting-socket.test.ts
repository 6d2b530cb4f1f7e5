import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type ConnectOptions, connect, type SocketLike } from 'wshub/client'

/** A WebSocket that does what the test says, since a server of its own would take its own time. */
class ScriptedSocket implements SocketLike {
  static readonly all: ScriptedSocket[] = []
  /** When it was made. */
  readonly at = performance.now()
  readonly url: string
  readyState = 0
  readonly protocol = ''
  readonly extensions = ''
  readonly bufferedAmount = 0
  binaryType = ''
  readonly closes: number[] = []
  onopen: unknown
  onmessage: unknown
  onerror: unknown
  onclose: unknown
  constructor(url: string | URL) {
    this.url = String(url)
    ScriptedSocket.all.push(this)
  }
  send(): void {}
  close(): void {
    this.closes.push(performance.now())
    this.readyState = 2
  }
  tell(type: 'open' | 'message' | 'close', event: object = {}): void {
    this.readyState = { open: 1, message: 1, close: 3 }[type]
    const listener = this[`on${type}`]
    if (typeof listener === 'function') listener(event)
  }
}

/** The one that was made last. */
function current(): ScriptedSocket {
  const last = ScriptedSocket.all.at(-1)
  if (last === undefined) throw new Error('no attempt was made')
  return last
}

function start(options: ConnectOptions = {}) {
  return connect('ws://test', {
    minDelayMs: 1_000,
    maxDelayMs: 30_000,
    WebSocket: ScriptedSocket,
    ...options,
  })
}

const lost = { code: 1006, reason: '', wasClean: false }

/** Loses the connection, and returns how long it took until the next attempt was made. */
function waitAfter(end = lost): number {
  const before = performance.now()
  const made = ScriptedSocket.all.length
  current().tell('close', end)
  vi.advanceTimersToNextTimer()
  expect(ScriptedSocket.all).toHaveLength(made + 1)
  return Math.round(current().at - before)
}

describe('The waits between attempts', () => {
  beforeEach(() => {
    vi.useFakeTimers()
    vi.spyOn(Math, 'random').mockReturnValue(1)
    ScriptedSocket.all.length = 0
  })
  afterEach(() => {
    vi.useRealTimers()
    vi.restoreAllMocks()
  })

  it('grow while attempts fail', () => {
    start()
    expect([1, 2, 3, 4, 5, 6].map(() => waitAfter())).toEqual([2_000, 4_000, 8_000, 16_000, 30_000, 30_000])
  })

  it('are random, between minDelayMs and that', () => {
    vi.mocked(Math.random).mockReturnValueOnce(0).mockReturnValueOnce(0.5).mockReturnValueOnce(0)
    start()
    expect([1, 2, 3].map(() => waitAfter())).toEqual([1_000, 2_500, 1_000])
  })

  it('begin again after a connection that lasted longer than the wait for it would', () => {
    start()
    const waits = []
    for (const openMs of [0, 3_000, 9_000, 1_000]) {
      current().tell('open')
      vi.advanceTimersByTime(openMs)
      waits.push(waitAfter())
    }
    expect(waits).toEqual([2_000, 4_000, 2_000, 4_000])
  })

  it('are those that the server asks for', () => {
    start()
    expect(waitAfter({ code: 1013, reason: 'retry-after=60', wasClean: true })).toBe(90_000)
    expect(waitAfter({ code: 1012, reason: '', wasClean: true })).toBe(30_000)
  })

  it('follow an attempt that does not open within openTimeoutMs', () => {
    start({ openTimeoutMs: 5_000 })
    const [first] = ScriptedSocket.all
    vi.advanceTimersByTime(5_000)
    expect(first?.closes).toHaveLength(1)
    vi.advanceTimersByTime(1_999)
    expect(ScriptedSocket.all).toHaveLength(1)
    vi.advanceTimersByTime(1)
    expect(ScriptedSocket.all).toHaveLength(2)
    first?.tell('open') // too late
    first?.tell('close', { code: 1000, reason: '' })
    vi.advanceTimersByTime(5_000)
    expect(current().closes).toHaveLength(1)
  })

  it('have one timer, and none after the end', () => {
    const socket = start({ heartbeatTimeoutMs: 1_000 })
    expect(vi.getTimerCount()).toBe(1)
    current().tell('open')
    expect(vi.getTimerCount()).toBe(1)
    current().tell('close', lost)
    expect(vi.getTimerCount()).toBe(1)
    socket.close()
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('The heartbeat timeout', () => {
  beforeEach(() => {
    vi.useFakeTimers()
    ScriptedSocket.all.length = 0
  })
  afterEach(() => {
    vi.useRealTimers()
    vi.restoreAllMocks()
  })

  it('is counted from the newest message of any kind', () => {
    const socket = start({ heartbeatTimeoutMs: 1_000 })
    const received: unknown[] = []
    socket.onmessage = ({ data }) => received.push(data)
    current().tell('open')
    for (const data of ['', 'text', new ArrayBuffer(0), '']) {
      vi.advanceTimersByTime(999)
      current().tell('message', { data })
    }
    expect(received).toEqual(['text', new ArrayBuffer(0)])
    vi.advanceTimersByTime(999)
    expect(socket.readyState).toBe(1)
    vi.advanceTimersByTime(1)
    expect([socket.readyState, current().closes.length]).toEqual([0, 1])
  })

  it('gives a page that was frozen a second to get what has come meanwhile', () => {
    const socket = start({ heartbeatTimeoutMs: 10_000 })
    current().tell('open')
    const now = performance.now.bind(performance)
    vi.spyOn(performance, 'now').mockImplementation(() => now() + 3_600_000) // the page slept for an hour
    vi.advanceTimersByTime(10_000)
    expect(socket.readyState).toBe(1)
    current().tell('message', { data: '' })
    vi.advanceTimersByTime(1_000)
    expect(socket.readyState).toBe(1)
    vi.advanceTimersByTime(10_000)
    expect(socket.readyState).toBe(0)
  })

  it('ends after that second when nothing has come', () => {
    const socket = start({ heartbeatTimeoutMs: 10_000 })
    current().tell('open')
    const now = performance.now.bind(performance)
    vi.spyOn(performance, 'now').mockImplementation(() => now() + 3_600_000)
    vi.advanceTimersByTime(10_999)
    expect(socket.readyState).toBe(1)
    vi.advanceTimersByTime(1)
    expect(socket.readyState).toBe(0)
  })
})
