import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { PendingCalls } from '../../src/cluster/pending-calls.ts'
import type { NodeResponse } from '../../src/cluster/wire/response.ts'
import { turn } from '../support/hub-server.ts'

const count = (value: number): NodeResponse => ({ type: 'count', count: value })

/** Lets time pass, and the input of that turn be read. */
async function pass(ms: number): Promise<void> {
  vi.advanceTimersByTime(ms)
  await turn()
}

describe('PendingCalls', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  })
  afterEach(() => {
    expect(vi.getTimerCount()).toBe(0)
    vi.useRealTimers()
  })

  it('a call ends when all nodes have answered', async () => {
    const calls = new PendingCalls(10)
    const { id, outcome } = calls.open(['a', 'b'], 1_000, 0)
    calls.respond(id, 'b', 0, true, count(2))
    expect(calls.size).toBe(1)
    calls.respond(id, 'a', 0, true, count(1))
    expect(await outcome).toEqual({
      responses: new Map([
        ['b', [count(2)]],
        ['a', [count(1)]],
      ]),
      missing: [],
    })
    expect(calls.size).toBe(0)
  })

  it('a call to no node ends at once', async () => {
    expect(await new PendingCalls(1).open([], 1_000, 0).outcome).toEqual({
      responses: new Map(),
      missing: [],
    })
  })

  it('a call ends when its time is over, and names the nodes that have not answered', async () => {
    const calls = new PendingCalls(10)
    const { id, outcome } = calls.open(['a', 'b', 'c'], 1_000, 0)
    calls.respond(id, 'b', 0, true, count(2))
    await pass(1_000)
    expect(await outcome).toEqual({ responses: new Map([['b', [count(2)]]]), missing: ['a', 'c'] })
    calls.respond(id, 'a', 0, true, count(1))
  })

  it('a call counts an answer that has arrived in time and is read late, since the process was busy', async () => {
    const calls = new PendingCalls(10)
    const { id, outcome } = calls.open(['a', 'b'], 1_000, 0)
    vi.advanceTimersByTime(1_000) // timers come first after a busy time
    calls.respond(id, 'a', 0, true, count(1))
    expect(await outcome).toEqual({ responses: new Map([['a', [count(1)]]]), missing: ['b'] })
    await turn()
  })

  it('a call does something later only while it waits', async () => {
    const calls = new PendingCalls(10)
    const { id, outcome } = calls.open(['a', 'b'], 1_000, 0)
    const { id: other, outcome: ended } = calls.open(['a'], 1_000, 0)
    calls.later(id, 50, () => calls.miss(id, 'b'))
    calls.later(other, 50, () => expect.unreachable('the call has ended'))
    calls.respond(other, 'a', 0, true, count(1))
    expect(vi.getTimerCount()).toBe(2)
    await pass(50)
    calls.respond(id, 'a', 0, true, count(1))
    expect((await outcome).missing).toEqual(['b'])
    expect((await ended).missing).toEqual([])
  })

  it('a call accepts the answer of an unknown node while it waits', async () => {
    const calls = new PendingCalls(10)
    const { id, outcome } = calls.open(['a'], 1_000, 50)
    calls.respond(id, 'a', 0, true, count(1))
    calls.respond(id, 'new', 0, true, count(5))
    await pass(50)
    expect([...(await outcome).responses.keys()]).toEqual(['a', 'new'])
  })

  it('a call waits for the nodes that become known while it waits for unknown ones, and names them', async () => {
    const calls = new PendingCalls(10)
    const { id, outcome } = calls.open(['a'], 1_000, 50)
    const { outcome: settled } = calls.open(['a'], 1_000, 0)
    calls.respond(id, 'a', 0, true, count(1))
    calls.respond(id, 'early', 0, true, count(2))
    for (const node of ['early', 'late', 'silent']) calls.found(node)
    await pass(50)
    calls.found('later')
    calls.respond(id, 'late', 0, true, count(3))
    expect(calls.size).toBe(2)
    await pass(950)
    const { responses, missing } = await outcome
    expect([[...responses.keys()], missing]).toEqual([['a', 'early', 'late'], ['silent']])
    expect((await settled).missing).toEqual(['a'])
  })

  it('a call waits for the nodes that were known when it was published, although it was opened before', async () => {
    const calls = new PendingCalls(10)
    const { id, outcome } = calls.open([], 1_000, Number.POSITIVE_INFINITY)
    calls.reached(id, ['a', 'b'])
    calls.release(id, 0)
    await pass(10)
    calls.respond(id, 'a', 0, true, count(1))
    await pass(990)
    expect((await outcome).missing).toEqual(['b'])
    calls.reached(id, ['c'])
    calls.notAsked(id, ['c'])
  })

  it('a call that was not published names all nodes, also those that become known, and waits for none', async () => {
    const calls = new PendingCalls(10)
    const { id, outcome } = calls.open(['self', 'a'], 1_000, 50)
    calls.respond(id, 'self', 0, true, count(1))
    calls.notAsked(id, ['a'])
    calls.found('b')
    await pass(50)
    expect(await outcome).toEqual({ responses: new Map([['self', [count(1)]]]), missing: ['a', 'b'] })
  })

  it('a call puts the parts of an answer together, and drops an incomplete answer', async () => {
    const calls = new PendingCalls(10)
    const { id, outcome } = calls.open(['a', 'b', 'c'], 1_000, 0)
    calls.respond(id, 'a', 0, false, count(1))
    calls.respond(id, 'b', 1, true, count(9))
    calls.respond(id, 'c', 0, false, count(1))
    calls.respond(id, 'c', 2, true, count(9))
    calls.respond(id, 'a', 1, true, count(2))
    expect(await outcome).toEqual({ responses: new Map([['a', [count(1), count(2)]]]), missing: ['b', 'c'] })
  })

  it('a call does not wait for a node that has left or cannot be reached', async () => {
    const calls = new PendingCalls(10)
    const first = calls.open(['a', 'b'], 1_000, 0)
    const second = calls.open(['a'], 1_000, 0)
    calls.miss(first.id, 'b')
    calls.gone('a')
    expect(await first.outcome).toEqual({ responses: new Map(), missing: ['b', 'a'] })
    expect(await second.outcome).toEqual({ responses: new Map(), missing: ['a'] })
  })

  it('a call accepts an answer once', async () => {
    const calls = new PendingCalls(10)
    const { id, outcome } = calls.open(['a', 'b'], 1_000, 0)
    calls.respond(id, 'a', 0, true, count(1))
    calls.respond(id, 'a', 0, true, count(7))
    calls.miss(id, 'b')
    expect(await outcome).toEqual({ responses: new Map([['a', [count(1)]]]), missing: ['b'] })
  })

  it('calls beyond the limit are refused', async () => {
    const calls = new PendingCalls(1)
    const { outcome } = calls.open(['a'], 1_000, 0)
    expect(() => calls.open(['a'], 1_000, 0)).toThrow(
      expect.objectContaining({ code: 'WSHUB_ERR_TOO_MANY_CALLS' }),
    )
    calls.close()
    expect(await outcome).toEqual({ responses: new Map(), missing: ['a'] })
    expect(calls.size).toBe(0)
  })

  it('a call is held until it is released, and then for the given time', async () => {
    const calls = new PendingCalls(10)
    const { id, outcome } = calls.open(['a'], 10_000, Number.POSITIVE_INFINITY)
    calls.respond(id, 'a', 0, true, count(1))
    await pass(5_000)
    expect(calls.has(id)).toBe(true)
    calls.release(id, 1_000)
    await pass(999)
    expect(calls.has(id)).toBe(true)
    calls.respond(id, 'b', 0, true, count(2))
    await pass(1)
    expect(calls.has(id)).toBe(false)
    expect(await outcome).toMatchObject({ responses: { size: 2 }, missing: [] })
    calls.release(id, 1_000)
  })

  it('a held call that is not released ends in time', async () => {
    const calls = new PendingCalls(10)
    const { id, outcome } = calls.open(['a'], 1_000, Number.POSITIVE_INFINITY)
    calls.respond(id, 'a', 0, true, count(1))
    await pass(1_000)
    expect(await outcome).toMatchObject({ responses: { size: 1 }, missing: [] })
  })
})

describe('a pending call', () => {
  it('keeps the process alive until it ends', async () => {
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
    const before = timers()
    const calls = new PendingCalls(10)
    const { id, outcome } = calls.open(['a'], 60_000, 0)
    expect(timers()).toBe(before + 1)
    calls.respond(id, 'a', 0, true, count(1))
    await outcome
    expect(timers()).toBe(before)
  })
})
