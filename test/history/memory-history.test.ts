import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { Hub, MemoryBackplane, MemoryBus, MemoryHistoryBus, memoryHistory } from 'wshub'
import { historyContract } from 'wshub/testing/history'
import { WAIT_MS } from '../support/in-time.ts'

describe('memoryHistory', () => {
  describe('with a bus', () => {
    const bus = new MemoryHistoryBus()
    const contract = historyContract({
      create: () => memoryHistory({ bus }),
      cut: () => bus.cut(),
      restore: () => bus.restore(),
      evict: () => bus.evict(),
      timeoutMs: WAIT_MS,
    })
    for (const { name, run } of contract) it(name, run)
  })

  describe('by itself', () => {
    const contract = historyContract({ create: () => memoryHistory(), timeoutMs: WAIT_MS })
    for (const { name, run } of contract) it(name, run)
  })

  it.each([
    { bus: {} },
    { bus: new MemoryHistoryBus(), maxBytes: 65_536 },
    { maxBytes: 65_535 },
    { maxBytesPerRoom: 16_383 },
    { maxBytes: Number.NaN },
    { max: 1 },
  ])('refuses the options %o', (options) => {
    expect(() => memoryHistory(options as never)).toThrow(
      expect.objectContaining({ code: 'WSHUB_ERR_INVALID_OPTION' }),
    )
  })

  it('is refused by a hub with a backplane, unless it is shared', () => {
    const make = (store = memoryHistory()) =>
      new Hub({ backplane: new MemoryBackplane(new MemoryBus()), history: { store, rooms: () => ({}) } })
    expect(() => make()).toThrow(expect.objectContaining({ code: 'WSHUB_ERR_INVALID_OPTION' }))
    return make(memoryHistory({ bus: new MemoryHistoryBus() })).close()
  })

  it('belongs to one hub', () => {
    const history = { store: memoryHistory(), rooms: () => ({}) }
    const hub = new Hub({ history })
    expect(() => new Hub({ history })).toThrow(expect.objectContaining({ code: 'WSHUB_ERR_INVALID_OPTION' }))
    return hub.close()
  })
})

describe('MemoryHistoryBus', () => {
  const LIMITS = { maxMessages: 1_000_000, maxAgeMs: 3_600_000 }

  it('keeps a message in at most 64 bytes beyond its own', () => {
    const bus = new MemoryHistoryBus()
    const record = Buffer.alloc(122)
    for (let count = 0; count < 100_000; count++) bus.append('room', record, LIMITS)
    expect(bus.bytes / 100_000 - record.length).toBeLessThan(64)
  })

  it('keeps no more of a room than its limit', () => {
    const bus = new MemoryHistoryBus({ maxBytesPerRoom: 16_384 })
    for (let count = 0; count < 1_000; count++) bus.append('room', Buffer.alloc(100), LIMITS)
    expect(bus.bytes).toBeLessThanOrEqual(16_384)
    expect(bus.bytes).toBeGreaterThan(8_192)
    expect(bus.read('room', { last: 1, maxMessages: 1, maxBytes: 1 }, LIMITS).head.offset).toBe(1_000)
  })

  it('removes old messages of a quiet room when a hub asks for its latest message', () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    onTestFinished(() => void vi.useRealTimers())
    const bus = new MemoryHistoryBus()
    for (let count = 0; count < 1_000; count++)
      bus.append('room', Buffer.alloc(100), { ...LIMITS, maxAgeMs: 20 })
    const { bytes } = bus
    vi.advanceTimersByTime(21)
    expect(bus.head('room')).toMatchObject({ offset: 1_000 })
    expect(bus.bytes).toBeLessThan(bytes / 10)
  })

  it('keeps no more of all rooms than its limit, those in use first', () => {
    const bus = new MemoryHistoryBus({ maxBytes: 65_536 })
    const before = bus.append('used', Buffer.alloc(100), LIMITS)
    for (let count = 0; count < 1_000; count++) {
      bus.append(`room ${count}`, Buffer.alloc(100), LIMITS)
      bus.head('used')
    }
    expect(bus.bytes).toBeLessThanOrEqual(65_536)
    expect(bus.head('used')).toMatchObject({ epoch: before.epoch, offset: 1 })
    expect(bus.head('room 0')).toBeUndefined()
    expect(bus.head('room 999')).toBeDefined()
  })

  it('refuses a record that is too big to be kept', () => {
    const bus = new MemoryHistoryBus({ maxBytesPerRoom: 16_384 })
    expect(() => bus.append('room', Buffer.alloc(8_193), LIMITS)).toThrow(
      expect.objectContaining({ code: 'WSHUB_ERR_NOT_STORED' }),
    )
    expect(bus.append('room', Buffer.alloc(8_192), LIMITS).offset).toBe(1)
  })

  it('leaves what was read as it is', () => {
    const bus = new MemoryHistoryBus({ maxBytesPerRoom: 16_384 })
    bus.append('room', Buffer.from('first'), LIMITS)
    const { records } = bus.read('room', { last: 1, maxMessages: 1, maxBytes: 1 }, LIMITS)
    for (let count = 0; count < 1_000; count++) bus.append('room', Buffer.alloc(100), LIMITS)
    expect(records[0]?.record.toString()).toBe('first')
  })

  it('tells a message from another one that took its number after a loss', () => {
    const bus = new MemoryHistoryBus()
    const lost = ['one', 'two'].map((text) => bus.append('room', Buffer.from(text), LIMITS))[1]
    bus.loseLatest('room', 1)
    const after = lost && { after: { ...lost }, maxMessages: 10, maxBytes: 1_000 }
    expect(bus.read('room', after ?? { maxMessages: 0, maxBytes: 0 }, LIMITS).isComplete).toBe(false)
    bus.append('room', Buffer.from('other'), LIMITS)
    expect(bus.read('room', after ?? { maxMessages: 0, maxBytes: 0 }, LIMITS).isComplete).toBe(false)
  })
})
