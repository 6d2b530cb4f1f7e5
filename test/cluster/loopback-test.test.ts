import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { LoopbackTest } from '../../src/cluster/loopback-test.ts'
import type { OutgoingChannel } from '../../src/cluster/sequences.ts'

const channel = (name: string): OutgoingChannel => ({
  name,
  epoch: 1,
  sequence: 0,
  usedAt: 0,
  accepted: { sequence: 0, at: 0 },
  barriersAt: 0,
})

function make() {
  const sent: string[] = []
  const loopbackTest = new LoopbackTest((channel, nonce) => sent.push(`${channel.name} ${nonce}`))
  return { loopbackTest, sent }
}

describe('LoopbackTest', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('the loopback test is passed when a probe has come back from each channel', () => {
    const { loopbackTest, sent } = make()
    loopbackTest.start(() => [channel('own'), channel('control')])
    expect(sent).toEqual(['own 1', 'control 1'])
    expect(loopbackTest.returned('own', 1)).toBe(false)
    expect(loopbackTest.returned('own', 1)).toBe(false)
    expect(loopbackTest.returned('control', 1)).toBe(true)
    vi.advanceTimersByTime(10_000)
    expect(sent).toHaveLength(2)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('the loopback test repeats missing probes, less and less often', () => {
    const { loopbackTest, sent } = make()
    loopbackTest.start(() => [channel('own'), channel('control')])
    loopbackTest.returned('own', 1)
    sent.length = 0
    vi.advanceTimersByTime(250 + 500 + 1_000 + 1_000)
    expect(sent).toEqual(['control 2', 'control 3', 'control 4', 'control 5'])
    expect(loopbackTest.returned('control', 2)).toBe(true) // a slow engine is connected too
    vi.advanceTimersByTime(10_000)
    expect(sent).toHaveLength(4)
  })

  it('the loopback test is passed without a channel whose subscription has ended', () => {
    const { loopbackTest, sent } = make()
    const channels = [channel('own'), channel('room')]
    loopbackTest.start(() => channels)
    loopbackTest.returned('own', 1)
    channels.pop()
    loopbackTest.forget('room')
    sent.length = 0
    vi.advanceTimersByTime(250)
    expect(sent).toEqual(['own 2'])
    expect(loopbackTest.returned('own', 2)).toBe(true)
  })

  it('a probe that was sent before a stop proves nothing', () => {
    const { loopbackTest } = make()
    loopbackTest.start(() => [channel('own')])
    loopbackTest.stop()
    loopbackTest.start(() => [channel('own')])
    expect(loopbackTest.returned('own', 1)).toBe(false)
    expect(loopbackTest.returned('own', 2)).toBe(true)
    loopbackTest.stop()
  })

  it('beats probe one channel after the other, and stay at one whose probe is missing', () => {
    const { loopbackTest, sent } = make()
    const rooms = ['a', 'b', 'c'].map(channel)
    const next = () => [channel('own'), ...rooms.splice(0, 1)]
    const beat = (...heard: string[]) => {
      sent.length = 0
      const silence = loopbackTest.beat(next)
      const probes = sent.map((probe) => probe.split(' ')[0])
      for (const name of heard) loopbackTest.returned(name, 1)
      return [silence, ...probes]
    }
    expect(beat('own', 'a')).toEqual([0, 'own', 'a'])
    expect(beat('own')).toEqual([0, 'own', 'b'])
    expect(beat()).toEqual([1, 'b'])
    expect(beat('b')).toEqual([2, 'b'])
    expect(beat()).toEqual([0, 'own', 'c'])
    expect(beat('own')).toEqual([1, 'own', 'c'])
    loopbackTest.forget('c')
    expect(beat()).toEqual([0, 'own'])
  })
})
