import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type Arrival, HeldRequests } from '../../src/cluster/held-requests.ts'
import type { Barrier } from '../../src/cluster/wire/envelope.ts'

const QUESTION = { op: 'leave', selection: { by: 'all', names: [] }, rooms: [] } as const
const READ = { op: 'node' } as const
const HOLD_MS = 1_000

const on = (channel: string): Barrier => ({ channel, epoch: 1, sequence: 1, ageMs: 0 })

const from = (node: string, bytes: number, channel = 'c'): Arrival => ({ node, channel, bytes })

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
      refuse: (node, id, reason) =>
        log.push(`refused ${node} ${id}${reason.includes('missing') ? ' missing' : ''}`),
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
    held.ask(from('a', 10), 1, QUESTION)
    pass('a', 'x')
    held.add(from('a', 10), [on('x')])
    held.ask(from('a', 10), 2, QUESTION)
    expect(log).toEqual(['a 1', 'a 2'])
    expect(held.bytes).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('requests are answered in order, each after everything before it has arrived', () => {
    const { held, log, pass } = make()
    held.add(from('a', 10), [on('x'), on('y')])
    held.ask(from('a', 10), 1, QUESTION)
    held.add(from('a', 10), [on('z')])
    held.ask(from('a', 10), 2, QUESTION)
    held.ask(from('b', 10), 3, QUESTION)
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
    held.add(from('a', 10), [on('x'), on('w')])
    held.ask(from('a', 10), 1, QUESTION)
    await vi.advanceTimersByTimeAsync(HOLD_MS / 2)
    pass('a', 'w')
    held.add(from('a', 10), [on('y')])
    held.ask(from('a', 10), 2, QUESTION)
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
    held.add(from('a', 100), [on('x')])
    held.ask(from('a', 100), 1, QUESTION)
    held.ask(from('a', 100), 2, QUESTION)
    held.ask(from('c', 100), 3, QUESTION)
    expect(log).toEqual(['refused a 2', 'c 3'])
    expect(held.bytes).toBeLessThanOrEqual(1_000)
    pass('a', 'x')
    expect(log).toEqual(['refused a 2', 'c 3', 'a 1'])
    expect(held.bytes).toBe(0)
  })

  it('requests of a node whose barriers did not fit are refused for as long as they would have been held', async () => {
    const { held, log, pass } = make({ maxBytes: 1_000 })
    held.add(from('a', 700), [on('x')])
    held.add(from('b', 100), [on('y')])
    held.ask(from('b', 10), 1, QUESTION)
    held.ask(from('c', 10), 2, QUESTION)
    expect(log).toEqual(['refused b 1 missing', 'c 2'])
    // The earlier barriers stay unknown, even when requests fit again.
    pass('a', 'x')
    held.add(from('b', 100), [on('z')])
    held.ask(from('b', 10), 3, QUESTION)
    pass('b', 'z')
    await vi.advanceTimersByTimeAsync(HOLD_MS - 1)
    held.ask(from('b', 10), 4, QUESTION)
    expect(log).toEqual(['refused b 1 missing', 'c 2', 'refused b 3 missing', 'refused b 4 missing'])
    await vi.advanceTimersByTimeAsync(1)
    held.ask(from('b', 10), 5, QUESTION)
    expect(log.slice(4)).toEqual(['b 5'])
    expect(held.bytes).toBe(0)
  })

  it('requests that change something are refused on a channel on which barriers may be missing', async () => {
    const { held, log } = make()
    held.missed('a', 'c')
    held.ask(from('a', 10), 1, QUESTION)
    held.ask(from('a', 10), 2, READ)
    held.ask(from('a', 10, 'd'), 3, QUESTION)
    held.ask(from('b', 10), 4, QUESTION)
    expect(log).toEqual(['refused a 1 missing', 'a 2', 'a 3', 'b 4'])
    await vi.advanceTimersByTimeAsync(HOLD_MS - 1)
    held.ask(from('a', 10), 5, QUESTION)
    await vi.advanceTimersByTimeAsync(1)
    held.ask(from('a', 10), 6, QUESTION)
    expect(log.slice(4)).toEqual(['refused a 5 missing', 'a 6'])
  })

  it('requests are no longer refused on a channel on which barriers begin anew', () => {
    const { held, log } = make()
    for (const channel of ['c', 'd']) held.missed('a', channel)
    held.begunAnew('a', 'c')
    held.ask(from('a', 10), 1, QUESTION)
    held.ask(from('a', 10, 'd'), 2, QUESTION)
    expect(log).toEqual(['a 1', 'refused a 2 missing'])
  })

  it('closing drops everything that waits, even while a request is being answered', () => {
    const { held, log, pass } = make({ onAsk: () => held.close() })
    held.add(from('b', 10), [on('y')])
    held.add(from('a', 10), [on('x')])
    for (const id of [1, 2]) held.ask(from('a', 10), id, QUESTION)
    pass('a', 'x')
    expect(log).toEqual(['a 1'])
    expect(held.bytes).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
  })
})
