import { afterEach, describe, expect, it, vi } from 'vitest'
import { Sequences } from '../../src/cluster/sequences.ts'
import { ChannelNames, EVERYONE } from '../../src/cluster/wire/channel-names.ts'

const sequences = (most?: number) => new Sequences(new ChannelNames('app'), most)

describe('Sequences', () => {
  it('each channel has its own sequence, in its own epoch', () => {
    const all = sequences()
    const [tea, rum, node] = [all.room('tea'), all.room('rum'), all.node('tea')]
    expect(all.room('tea')).toBe(tea)
    expect(all.node('tea')).toBe(node)
    expect([all.control, tea, rum, node].map(({ name: channel }) => channel)).toEqual([
      'app.c',
      'app.r.tea',
      'app.r.rum',
      'app.n.tea',
    ])
    expect(new Set([all.control, tea, rum, node].map(({ epoch }) => epoch)).size).toBe(4)
    expect(tea).toEqual({
      name: 'app.r.tea',
      epoch: tea.epoch,
      sequence: 0,
      usedAt: 0,
      accepted: { sequence: 0, at: 0 },
      barriersAt: 0,
    })
  })

  it('a forgotten sequence begins again in a later epoch', () => {
    const all = sequences()
    const { epoch: run } = all.room('tea')
    all.room('rum').usedAt = 7
    all.forget(7)
    expect(all.room('rum').usedAt).toBe(7)
    expect(all.room('tea').epoch).toBeGreaterThan(run)
  })

  it('the oldest sequences are forgotten when there are too many, but never that of everyone', () => {
    const all = sequences(3)
    const everyone = all.room(EVERYONE)
    const [one, two] = [all.room('1'), all.room('2')]
    all.room('3')
    expect(all.room(EVERYONE)).toBe(everyone)
    expect(all.room('2')).toBe(two)
    expect(all.room('1')).not.toBe(one)
  })

  it('usedSince returns the channels used since a beat, without the control channel', () => {
    const all = sequences()
    all.control.usedAt = 9
    all.room('tea').usedAt = 4
    all.room('rum').usedAt = 5
    all.node('a').usedAt = 6
    expect(all.usedSince(5).map(({ name: channel }) => channel)).toEqual(['app.r.rum', 'app.n.a'])
  })

  describe('the barriers of a call', () => {
    afterEach(() => {
      vi.useRealTimers()
    })

    /** Publishes on each channel, with the next number. */
    function publish(all: Sequences, ...used: ReturnType<Sequences['room']>[]): void {
      for (const sequence of used) all.accepted(sequence, ++sequence.sequence)
    }
    const show = (all: Sequences, way: ReturnType<Sequences['room']>) =>
      all
        .barriers(way, performance.now())
        .map(({ channel, sequence: number, ageMs }) => `${channel} ${number} ${ageMs}`)

    it('barriers are the latest accepted messages, with number and age, in the order of use', () => {
      vi.useFakeTimers()
      const all = sequences()
      const [tea, rum] = [all.room('tea'), all.room('rum')]
      expect(all.barriers(all.control, performance.now())).toEqual([])
      publish(all, tea, rum)
      vi.advanceTimersByTime(10)
      publish(all, tea)
      tea.sequence++ // not accepted
      vi.advanceTimersByTime(5)
      expect(show(all, all.control)).toEqual(['app.r.rum 1 15', 'app.r.tea 2 5'])
      expect(all.barriers(all.control, performance.now())[0]?.epoch).toBe(rum.epoch)
    })

    it('barriers omit the channel of the call, and the barriers of earlier calls', () => {
      vi.useFakeTimers()
      const all = sequences()
      const [tea, node] = [all.room('tea'), all.node('a')]
      publish(all, tea, node)
      expect(show(all, node)).toEqual(['app.r.tea 1 0'])
      vi.advanceTimersByTime(1)
      node.barriersAt = performance.now()
      expect(show(all, node)).toEqual([])
      expect(show(all, all.control)).toEqual(['app.r.tea 1 1', 'app.n.a 1 1'])
      publish(all, tea)
      expect(show(all, node)).toEqual(['app.r.tea 2 0'])
    })

    it('barriers cover the latest 5 s, and 10,000 channels at most', () => {
      vi.useFakeTimers()
      const all = sequences()
      publish(all, all.room('tea'))
      vi.advanceTimersByTime(5_000)
      expect(show(all, all.control)).toEqual(['app.r.tea 1 5000'])
      vi.advanceTimersByTime(1)
      expect(show(all, all.control)).toEqual([])
      for (let i = 0; i < 20_000; i++) publish(all, all.room(String(i)))
      const barriers = all.barriers(all.control, performance.now())
      expect(barriers).toHaveLength(10_000)
      expect([barriers[0]?.channel, barriers.at(-1)?.channel]).toEqual(['app.r.10000', 'app.r.19999'])
    })

    it('barriers cover 10,000 channels, however many are recorded', () => {
      vi.useFakeTimers()
      const all = sequences()
      for (let i = 0; i < 15_000; i++) publish(all, all.room(String(i)))
      const barriers = all.barriers(all.control, performance.now())
      expect(barriers).toHaveLength(10_000)
      expect([barriers[0]?.channel, barriers.at(-1)?.channel]).toEqual(['app.r.5000', 'app.r.14999'])
    })

    it('barriers are recorded as long as calls have to stay behind them, even if old sequences are forgotten', () => {
      vi.useFakeTimers()
      const all = sequences()
      publish(all, all.room('tea'))
      all.forget(0)
      expect(show(all, all.control)).toEqual(['app.r.tea 1 0'])
      vi.advanceTimersByTime(5_000)
      all.forget(0)
      expect(show(all, all.control)).toEqual(['app.r.tea 1 5000'])
    })

    /** Counts how often a message, the latest on its channel, is read from now on. */
    function countLooks(room: ReturnType<Sequences['room']>): { looks: number } {
      const counter = { looks: 0 }
      const { accepted } = room
      const get = () => {
        counter.looks++
        return accepted
      }
      Object.defineProperty(room, 'accepted', { get })
      return counter
    }

    it('barriers are checked once for every 10,000 messages', () => {
      vi.useFakeTimers()
      const all = sequences()
      for (let i = 0; i < 19_000; i++) publish(all, all.room(String(i)))
      publish(all, all.room('tea'))
      const counter = countLooks(all.room('tea'))
      for (let i = 0; i < 5_000; i++) publish(all, all.room(`later ${i}`))
      expect(counter.looks).toBe(1)
    })

    it('barriers are removed once they are too old', () => {
      vi.useFakeTimers()
      const all = sequences()
      publish(all, all.room('tea'))
      const counter = countLooks(all.room('tea'))
      vi.advanceTimersByTime(5_001)
      all.forget(0)
      for (let i = 0; i < 20_000; i++) publish(all, all.room(String(i)))
      expect(counter.looks).toBe(0)
    })

    it('barriers cover all channels, however many messages one of them has had', () => {
      vi.useFakeTimers()
      const all = sequences()
      const [tea, rum, hot] = [all.room('tea'), all.room('rum'), all.room('hot')]
      publish(all, tea, hot, rum)
      for (let i = 0; i < 50_000; i++) publish(all, hot)
      expect(show(all, all.control)).toEqual(['app.r.tea 1 0', 'app.r.rum 1 0', 'app.r.hot 50001 0'])
    })

    it('barriers cost a check of the channels used since the previous call, and not of all channels', () => {
      vi.useFakeTimers()
      const all = sequences()
      const counters = Array.from({ length: 1_000 }, (_, i) => {
        publish(all, all.room(String(i)))
        return countLooks(all.room(String(i)))
      })
      const looks = () => counters.reduce((sum, counter) => sum + counter.looks, 0)
      expect(show(all, all.control)).toHaveLength(1_000)
      expect(looks()).toBe(1_000)
      vi.advanceTimersByTime(1)
      all.control.barriersAt = performance.now()
      publish(all, all.room('tea'))
      expect(show(all, all.control)).toEqual(['app.r.tea 1 0'])
      expect(looks()).toBe(1_000)
    })
  })
})
