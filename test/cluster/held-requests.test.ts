import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { HeldRequests } from '../../src/cluster/held-requests.ts'
import type { Barrier } from '../../src/cluster/wire/envelope.ts'

const QUESTION = { op: 'node' } as const
const HOLD_MS = 1_000

const on = (channel: string): Barrier => ({ channel, epoch: 1, sequence: 1, ageMs: 0 })

function make({ maxBytes, onAsk = () => {} }: { maxBytes?: number; onAsk?: () => void } = {}) {
  const passed = new Set<string>()
  const log: string[] = []
  const held = new HeldRequests(
    {
      isPassed: (node, { channel }) => passed.has(`${node} ${channel}`),
      expired: (node, { channel }) => log.push(`expired ${node} ${channel}`),
      ask: (node, id) => {
        log.push(`${node} ${id}`)
        onAsk()
      },
      refuse: (node, id) => log.push(`refused ${node} ${id}`),
    },
    HOLD_MS,
    maxBytes,
  )
  const pass = (node: string, channel: string) => {
    passed.add(`${node} ${channel}`)
    held.progressed(node, channel)
  }
  return { held, log, pass }
}

describe('HeldRequests', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('a request with nothing before it is answered at once', () => {
    const { held, log, pass } = make()
    held.ask('a', 1, QUESTION, 10)
    pass('a', 'x')
    held.add('a', [on('x')], 10)
    held.ask('a', 2, QUESTION, 10)
    expect(log).toEqual(['a 1', 'a 2'])
    expect(held.bytes).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('requests are answered in order, each after everything before it has arrived', () => {
    const { held, log, pass } = make()
    held.add('a', [on('x'), on('y')], 10)
    held.ask('a', 1, QUESTION, 10)
    held.add('a', [on('z')], 10)
    held.ask('a', 2, QUESTION, 10)
    held.ask('b', 3, QUESTION, 10)
    expect(log).toEqual(['b 3'])
    for (const channel of ['z', 'w', 'x']) pass('a', channel)
    pass('b', 'y')
    expect(log).toEqual(['b 3'])
    pass('a', 'y')
    expect(log).toEqual(['b 3', 'a 1', 'a 2'])
    expect(held.bytes).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('each barrier expires when its own time is over', async () => {
    const { held, log, pass } = make()
    held.add('a', [on('x'), on('w')], 10)
    held.ask('a', 1, QUESTION, 10)
    await vi.advanceTimersByTimeAsync(HOLD_MS / 2)
    pass('a', 'w')
    held.add('a', [on('y')], 10)
    held.ask('a', 2, QUESTION, 10)
    await vi.advanceTimersByTimeAsync(HOLD_MS / 2 - 1)
    expect(log).toEqual([])
    await vi.advanceTimersByTimeAsync(1)
    expect(log).toEqual(['expired a x', 'a 1'])
    await vi.advanceTimersByTimeAsync(HOLD_MS / 2)
    expect(log).toEqual(['expired a x', 'a 1', 'expired a y', 'a 2'])
    expect(held.bytes).toBe(0)
  })

  it('requests beyond the limit of held bytes are refused', () => {
    const { held, log, pass } = make({ maxBytes: 1_000 })
    held.add('a', [on('x')], 100)
    held.ask('a', 1, QUESTION, 100)
    held.ask('a', 2, QUESTION, 100)
    held.ask('c', 3, QUESTION, 100)
    expect(log).toEqual(['refused a 2', 'c 3'])
    expect(held.bytes).toBeLessThanOrEqual(1_000)
    pass('a', 'x')
    expect(log).toEqual(['refused a 2', 'c 3', 'a 1'])
    expect(held.bytes).toBe(0)
  })

  it('requests of a node whose barriers did not fit are refused for as long as they would have been held', async () => {
    const { held, log, pass } = make({ maxBytes: 1_000 })
    held.add('a', [on('x')], 700)
    held.add('b', [on('y')], 100)
    held.ask('b', 1, QUESTION, 10)
    held.ask('c', 2, QUESTION, 10)
    expect(log).toEqual(['refused b 1', 'c 2'])
    // The earlier barriers stay unknown, even when requests fit again.
    pass('a', 'x')
    held.add('b', [on('z')], 100)
    held.ask('b', 3, QUESTION, 10)
    pass('b', 'z')
    await vi.advanceTimersByTimeAsync(HOLD_MS - 1)
    held.ask('b', 4, QUESTION, 10)
    expect(log).toEqual(['refused b 1', 'c 2', 'refused b 3', 'refused b 4'])
    await vi.advanceTimersByTimeAsync(1)
    held.ask('b', 5, QUESTION, 10)
    expect(log.slice(4)).toEqual(['b 5'])
    expect(held.bytes).toBe(0)
  })

  it('closing drops everything that waits, even while a request is being answered', () => {
    const { held, log, pass } = make({ onAsk: () => held.close() })
    held.add('b', [on('y')], 10)
    held.add('a', [on('x')], 10)
    for (const id of [1, 2]) held.ask('a', id, QUESTION, 10)
    pass('a', 'x')
    expect(log).toEqual(['a 1'])
    expect(held.bytes).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
  })
})
