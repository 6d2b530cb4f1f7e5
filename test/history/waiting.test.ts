import { describe, expect, it } from 'vitest'
import { MarkWaiters } from '../../src/history/mark-waiters.ts'
import { PendingAppends } from '../../src/history/pending-appends.ts'

const MANY = 80_000

describe('MarkWaiters', () => {
  it('looks at each message twice at most for each that is delivered, however many wait', async () => {
    const waiters = new MarkWaiters()
    const mark = (offset: number) => ({ epoch: 'e', offset, tag: '' })
    const reached: number[] = []
    const waits: Promise<void>[] = []
    for (let n = 1; n <= 1_000; n++) waits.push(waiters.wait(mark(n), 0).then(() => void reached.push(n)))
    let looks = 0
    for (let delivered = 1; delivered <= 1_000; delivered++) {
      waiters.moved(({ offset }) => {
        looks++
        return offset <= delivered ? 'past' : undefined
      })
    }
    await Promise.all(waits)
    expect(reached).toEqual(Array.from({ length: 1_000 }, (_, index) => index + 1))
    expect(looks).toBeLessThanOrEqual(2_000)
  })
})

describe('PendingAppends', () => {
  it('settles when all messages from before have ended, in any order', async () => {
    const pending = new PendingAppends()
    const [one, two] = [pending.begin(), pending.begin()]
    const ends: string[] = []
    const waits = [pending.settled?.then(() => ends.push('first'))]
    const three = pending.begin()
    waits.push(pending.settled?.then(() => ends.push('second')))
    pending.end(three)
    pending.end(two)
    await Promise.resolve()
    expect(ends).toEqual([])
    pending.end(one)
    await Promise.all(waits)
    expect(ends).toEqual(['first', 'second'])
    expect(pending.settled).toBeUndefined()
  })

  it('takes as long for each of many messages as for one', async () => {
    const tookMs: number[] = []
    for (let round = 0; round < 3; round++) {
      const pending = new PendingAppends()
      const numbers = Array.from({ length: MANY }, () => pending.begin())
      const { settled } = pending
      const startedAt = performance.now()
      for (const number of numbers) pending.end(number)
      await settled
      tookMs.push(performance.now() - startedAt)
    }
    // 20 ms; it took 3 s when each took longer. In one of the rounds, the process may have stood still.
    expect(Math.min(...tookMs)).toBeLessThan(1_000)
  })
})
