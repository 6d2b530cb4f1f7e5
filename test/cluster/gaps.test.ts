import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Gaps } from '../../src/cluster/gaps.ts'

const at = (sequence: number, epoch = 1, node = 'a') => ({ node, epoch, sequence })

describe('Gaps', () => {
  it('a sequence begins with its first message, and later missing messages are counted', () => {
    const gaps = new Gaps()
    const missing = [5, 6, 9, 10].map((number) => gaps.follow('c', at(number), true, 0))
    expect(missing).toEqual([0, 0, 2, 0])
  })

  it('a message that arrived before, or was reported as missing, is repeated', () => {
    const gaps = new Gaps()
    const verdicts = [5, 5, 9, 7, 9, 10].map((number) => gaps.follow('c', at(number), true, 0))
    expect(verdicts).toEqual([0, 'repeated', 3, 'repeated', 'repeated', 0])
  })

  it('each publisher is followed on each channel', () => {
    const gaps = new Gaps()
    gaps.follow('c', at(1), true, 0)
    expect(gaps.follow('c', at(8, 1, 'b'), true, 0)).toBe(0)
    expect(gaps.follow('d', at(8), true, 0)).toBe(0)
    expect(gaps.follow('c', at(3), true, 0)).toBe(1)
    expect(gaps.size).toBe(3)
  })

  it('a later epoch begins a new sequence, and a message of an earlier epoch is repeated', () => {
    const gaps = new Gaps()
    gaps.follow('c', at(100), true, 0)
    expect(gaps.follow('c', at(1, 2), true, 0)).toBe(0)
    expect(gaps.follow('c', at(101), true, 0)).toBe('repeated')
    expect(gaps.follow('c', at(4, 5), true, 0)).toBe(3)
  })

  it('a checkpoint shows the latest number of a sequence, and is never counted itself', () => {
    const gaps = new Gaps()
    gaps.follow('c', at(5), true, 0)
    expect(gaps.follow('c', at(5), false, 0)).toBe(0)
    expect(gaps.follow('c', at(8), false, 0)).toBe(3)
    expect(gaps.follow('c', at(7), false, 0)).toBe(0)
    expect(gaps.follow('c', at(9), true, 0)).toBe(0)
    expect(gaps.follow('c', at(2, 2), false, 0)).toBe(2)
    expect(gaps.follow('d', at(3), false, 0)).toBe(0)
    expect(gaps.follow('d', at(5), true, 0)).toBe(1)
  })

  it('after a message that may be older than the subscription, a sequence begins with the next one', () => {
    const gaps = new Gaps()
    gaps.assume('c', at(5), 0)
    expect([4, 5, 6].map((number) => gaps.has('c', at(number)))).toEqual([true, true, undefined])
    const verdicts = [8, 10, 7].map((number) => gaps.follow('c', at(number), true, 0))
    expect(verdicts).toEqual([0, 1, 'repeated'])
    gaps.assume('d', at(5), 0)
    gaps.assume('d', at(6), 0)
    expect(gaps.follow('d', at(1, 2), true, 0)).toBe(0)
    expect(gaps.size).toBe(2)
  })

  it('when that message arrives after all, the sequence goes on from it', () => {
    const gaps = new Gaps()
    gaps.assume('c', at(5), 0)
    const verdicts = [5, 7].map((number) => gaps.follow('c', at(number), true, 0))
    expect(verdicts).toEqual(['repeated', 1])
  })

  it('a publisher that has published nothing is not followed', () => {
    const gaps = new Gaps()
    expect(gaps.follow('c', at(0), false, 0)).toBe(0)
    expect(gaps.size).toBe(0)
  })

  it('Gaps forgets a channel whose subscription has ended, and publishers that have left', () => {
    const gaps = new Gaps()
    gaps.follow('c', at(1), true, 1)
    gaps.follow('c', at(1, 1, 'b'), true, 2)
    gaps.follow('d', at(1), true, 3)
    gaps.forget((node, heardAt) => node === 'a' && heardAt < 3)
    expect(gaps.size).toBe(2)
    expect(gaps.follow('c', at(9), true, 0)).toBe(0)
    expect(gaps.follow('d', at(9), true, 0)).toBe(7)
    gaps.leave('d')
    gaps.leave('none')
    expect(gaps.size).toBe(2)
    expect(gaps.follow('d', at(20), true, 0)).toBe(0)
  })

  it('has tells by epoch and sequence what has arrived or is missing, and nothing of an unknown publisher', () => {
    const gaps = new Gaps()
    expect(gaps.has('c', at(1))).toBe(undefined)
    gaps.follow('c', at(5, 2), true, 0)
    expect(gaps.has('c', at(1, 1, 'b'))).toBe(undefined)
    expect(gaps.has('d', at(1))).toBe(undefined)
    const known = [at(4, 2), at(5, 2), at(6, 2), at(9, 1), at(1, 3)].map((stamp) => gaps.has('c', stamp))
    expect(known).toEqual([true, true, false, true, false])
  })

  it('Gaps follows no more pairs of channel and publisher than its limit', () => {
    const gaps = new Gaps(3)
    for (const channel of ['1', '2', '3', '4', '5']) gaps.follow(channel, at(1), true, 0)
    expect(gaps.size).toBe(3)
    for (const node of ['b', 'd', 'e', 'f', 'g']) gaps.follow('5', at(1, 1, node), true, 0)
    expect(gaps.size).toBe(3)
    expect(gaps.follow('5', at(3, 1, 'g'), true, 0)).toBe(1)
  })

  it('Gaps keeps nothing of a channel on which no publisher is followed any more', () => {
    const gaps = new Gaps(2)
    gaps.follow('c', at(1), true, 0)
    gaps.forget(() => true)
    // The rest of the channel would be forgotten first, instead of a publisher.
    for (const node of ['a', 'b', 'c']) gaps.follow('d', at(1, 1, node), true, 0)
    expect(gaps.size).toBe(2)
  })

  it('Gaps forgets a sixty-fourth of its limit at once', () => {
    const gaps = new Gaps(128)
    for (let i = 0; i < 128; i++) gaps.follow(String(i), at(1), true, 0)
    expect(gaps.size).toBe(128)
    gaps.follow('128', at(1), true, 0)
    expect(gaps.size).toBe(128 + 1 - 2)
    const forgotten = ['0', '1', '2', '128'].map((channel) => gaps.has(channel, at(1)) === undefined)
    expect(forgotten).toEqual([true, true, false, false])
    const one = new Gaps(128)
    for (let i = 0; i < 129; i++) one.follow('c', at(1, 1, `n${i}`), true, 0)
    expect(one.size).toBe(128 + 1 - 2)
    expect(one.has('c', at(1, 1, 'n1'))).toBe(undefined)
    expect(one.has('c', at(1, 1, 'n2'))).toBe(true)
  })

  it('Gaps accounts for every message, whatever is lost or arrives twice', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('comes', 'lost', 'twice')), (fates) => {
        const gaps = new Gaps()
        let delivered = 0
        let lost = 0
        const take = (number: number) => {
          const missing = gaps.follow('c', at(number), true, 0)
          if (missing === 'repeated') return
          lost += missing
          delivered++
        }
        take(1)
        fates.forEach((fate, index) => {
          if (fate !== 'lost') take(index + 2)
          if (fate === 'twice') take(index + 2)
        })
        take(fates.length + 2)
        expect(lost).toBe(fates.filter((fate) => fate === 'lost').length)
        expect(delivered + lost).toBe(fates.length + 2)
      }),
    )
  })
})
