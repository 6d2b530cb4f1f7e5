import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { SelfTest } from '../../src/cluster/loopback-test.ts'
import type { Sequence } from '../../src/cluster/sequences.ts'

const channel = (name: string): Sequence => ({
  channel: name,
  run: 1,
  number: 0,
  usedAt: 0,
  accepted: { number: 0, at: 0 },
  barriersAt: 0,
})

function make() {
  const sent: string[] = []
  const selfTest = new SelfTest((sequence, nonce) => sent.push(`${sequence.channel} ${nonce}`))
  return { selfTest, sent }
}

describe('SelfTest', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('is passed when a probe has come back from each channel', () => {
    const { selfTest, sent } = make()
    selfTest.start(() => [channel('own'), channel('control')])
    expect(sent).toEqual(['own 1', 'control 1'])
    expect(selfTest.heard('own', 1)).toBe(false)
    expect(selfTest.heard('own', 1)).toBe(false)
    expect(selfTest.heard('control', 1)).toBe(true)
    vi.advanceTimersByTime(10_000)
    expect(sent).toHaveLength(2)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('tries again, and less and less often, where nothing has come back', () => {
    const { selfTest, sent } = make()
    selfTest.start(() => [channel('own'), channel('control')])
    selfTest.heard('own', 1)
    sent.length = 0
    vi.advanceTimersByTime(250 + 500 + 1_000 + 1_000)
    expect(sent).toEqual(['control 2', 'control 3', 'control 4', 'control 5'])
    expect(selfTest.heard('control', 2)).toBe(true) // a slow engine is connected too
    vi.advanceTimersByTime(10_000)
    expect(sent).toHaveLength(4)
  })

  it('is passed without a channel that is not listened to any more', () => {
    const { selfTest, sent } = make()
    const channels = [channel('own'), channel('room')]
    selfTest.start(() => channels)
    selfTest.heard('own', 1)
    channels.pop()
    selfTest.forget('room')
    sent.length = 0
    vi.advanceTimersByTime(250)
    expect(sent).toEqual(['own 2'])
    expect(selfTest.heard('own', 2)).toBe(true)
  })

  it('believes no probe of before it was stopped', () => {
    const { selfTest } = make()
    selfTest.start(() => [channel('own')])
    selfTest.stop()
    selfTest.start(() => [channel('own')])
    expect(selfTest.heard('own', 1)).toBe(false)
    expect(selfTest.heard('own', 2)).toBe(true)
    selfTest.stop()
  })

  it('watches one channel after the other, and stays where nothing comes back', () => {
    const { selfTest, sent } = make()
    const rooms = ['a', 'b', 'c'].map(channel)
    const next = () => [channel('own'), ...rooms.splice(0, 1)]
    const beat = (...heard: string[]) => {
      sent.length = 0
      const silence = selfTest.beat(next)
      const probes = sent.map((probe) => probe.split(' ')[0])
      for (const name of heard) selfTest.heard(name, 1)
      return [silence, ...probes]
    }
    expect(beat('own', 'a')).toEqual([0, 'own', 'a'])
    expect(beat('own')).toEqual([0, 'own', 'b'])
    expect(beat()).toEqual([1, 'b'])
    expect(beat('b')).toEqual([2, 'b'])
    expect(beat()).toEqual([0, 'own', 'c'])
    expect(beat('own')).toEqual([1, 'own', 'c'])
    selfTest.forget('c')
    expect(beat()).toEqual([0, 'own'])
  })
})
