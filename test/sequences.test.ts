import { describe, expect, it } from 'vitest'
import { Channels, EVERYONE } from '../src/channels.ts'
import { Sequences } from '../src/sequences.ts'

const sequences = (most?: number) => new Sequences(new Channels('app'), most)

describe('Sequences', () => {
  it('counts for each channel, in a run of its own', () => {
    const all = sequences()
    const [tea, rum, node] = [all.room('tea'), all.room('rum'), all.node('tea')]
    expect(all.room('tea')).toBe(tea)
    expect(all.node('tea')).toBe(node)
    expect([all.control, tea, rum, node].map(({ channel }) => channel)).toEqual([
      'app.c',
      'app.r.tea',
      'app.r.rum',
      'app.n.tea',
    ])
    expect(new Set([all.control, tea, rum, node].map(({ run }) => run)).size).toBe(4)
    expect(tea.number).toBe(0)
  })

  it('begins a later run for a count that it has forgotten', () => {
    const all = sequences()
    const { run } = all.room('tea')
    all.room('rum').usedAt = 7
    all.forget(7)
    expect(all.room('rum').usedAt).toBe(7)
    expect(all.room('tea').run).toBeGreaterThan(run)
  })

  it('forgets the oldest when there are too many, but never that of everyone', () => {
    const all = sequences(3)
    const everyone = all.room(EVERYONE)
    const [one, two] = [all.room('1'), all.room('2')]
    all.room('3')
    expect(all.room(EVERYONE)).toBe(everyone)
    expect(all.room('2')).toBe(two)
    expect(all.room('1')).not.toBe(one)
  })

  it('tells what was used since a beat, control excepted', () => {
    const all = sequences()
    all.control.usedAt = 9
    all.room('tea').usedAt = 4
    all.room('rum').usedAt = 5
    all.node('a').usedAt = 6
    expect(all.usedSince(5).map(({ channel }) => channel)).toEqual(['app.r.rum', 'app.n.a'])
  })
})
