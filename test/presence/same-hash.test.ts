import { describe, expect, it } from 'vitest'
import { hashOf } from '../../src/presence/room-hash.ts'
import { Bus } from '../support/bus.ts'
import { eventually } from '../support/hub-server.ts'
import { agreed, presenceOf, toldIn, two } from './support.ts'

/** Two rooms whose names have the same hash: found among 44 million names. */
const ONE = 'chat:plwnc9w88io4'
const OTHER = 'chat:135ajh242m5rl'

describe('Two rooms whose names have the same hash', () => {
  it('exist', () => {
    expect(hashOf(ONE)).toBe(hashOf(OTHER))
  })

  it('are both mended after the last change of each was lost', async () => {
    const [x, y] = await two(new Bus())
    for (const room of [ONE, OTHER]) {
      await x.enter('ann', room)
      await y.enter('bob', room)
    }
    for (const room of [ONE, OTHER]) await agreed([x, y], room, 'ann:1 bob:1')
    y.backplane.drop = (_channel, bytes) => presenceOf(bytes)?.op === 'delta'
    for (const room of [ONE, OTHER]) await x.enter('cid', room)
    for (const room of [ONE, OTHER]) await agreed([x, y], room, 'ann:1 bob:1 cid:1')
  })

  it.each([
    ['both', ONE],
    ['both', OTHER],
    ['one', ONE],
    ['one', OTHER],
  ])('make a node that follows %s of them ask once, after a change of %s', async (followed, changed) => {
    const bus = new Bus()
    const [x, y] = await two(bus)
    for (const room of [ONE, OTHER]) await x.enter('ann', room)
    for (const room of followed === 'both' ? [ONE, OTHER] : [OTHER]) {
      await y.enter('bob', room)
      await agreed([y], room, 'ann:1 bob:1')
    }
    const told = (since: number) => toldIn(bus.published.slice(since))
    const digestsOf = (since: number) =>
      bus.published
        .slice(since)
        .filter(({ by, bytes }) => by === x.backplane && presenceOf(bytes)?.op === 'digest')
    const beats = async (since: number, count: number) =>
      eventually(
        'some digests',
        () => digestsOf(since).length >= count,
        () => told(since).map(({ op }) => op),
      )
    await beats(bus.published.length, 10)
    const start = bus.published.length
    await x.enter('cid', changed)
    await beats(start, 20)
    const asked = told(start).filter(({ op }) => op === 'ask')
    expect(asked.length).toBeLessThanOrEqual(2)
    await agreed([y], OTHER, changed === OTHER ? 'ann:1 bob:1 cid:1' : 'ann:1 bob:1')
  })
})
