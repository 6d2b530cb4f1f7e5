import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ChannelNames, EVERYONE } from '../../../src/cluster/wire/channel-names.ts'

const unicode = fc.oneof(
  fc.string({ minLength: 1 }),
  fc.string({ unit: 'binary', minLength: 1 }),
  fc
    .array(fc.integer({ min: 0, max: 0xffff }), { minLength: 1 })
    .map((units) => String.fromCharCode(...units)),
  fc.string({ minLength: 1, maxLength: 4, unit: fc.constantFrom('_', '.', '-', '2', 'e', 'h', 'a') }),
  fc.string({ minLength: 100, maxLength: 400, unit: fc.constantFrom('a', 'é') }),
)

describe('ChannelNames', () => {
  it('every room has a channel name that every backplane accepts', () => {
    fc.assert(
      fc.property(unicode, unicode, (namespace, room) => {
        const channels = new ChannelNames(namespace)
        for (const channel of [
          channels.room(room),
          channels.room(EVERYONE),
          channels.control,
          channels.node('A-z_0'),
        ]) {
          expect(channel).toMatch(/^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+$/)
          expect(channel.length).toBeLessThanOrEqual(200)
        }
      }),
      { numRuns: 2_000 },
    )
  })

  it('no two rooms share a channel name', () => {
    const channels = new ChannelNames('app')
    fc.assert(
      fc.property(fc.uniqueArray(unicode, { minLength: 2, maxLength: 50 }), (rooms) => {
        const names = [...rooms.map((room) => channels.room(room)), channels.room(EVERYONE), channels.control]
        expect(new Set(names).size).toBe(names.length)
      }),
      { numRuns: 1_000 },
    )
  })

  it('no two namespaces share a channel name', () => {
    fc.assert(
      fc.property(unicode, unicode, unicode, unicode, (one, other, room, another) => {
        fc.pre(one !== other)
        const [a, b] = [new ChannelNames(one), new ChannelNames(other)]
        expect(a.room(room)).not.toBe(b.room(another))
        expect(a.room(room)).not.toBe(b.room(room))
        expect(a.control).not.toBe(b.control)
        expect(a.node('n')).not.toBe(b.node('n'))
      }),
      { numRuns: 2_000 },
    )
  })

  it.each([
    ['chat', 'app.r.chat'],
    ['chat:42', 'app.r.chat_3a42'],
    ['a_b', 'app.r.a_5fb'],
    ['a.b', 'app.r.a_2eb'],
    ['é', 'app.r._e9'],
    ['茶', 'app.r.__8336'],
    ['\ud800', 'app.r.__d800'],
    ['*', 'app.r._2a'],
    ['>', 'app.r._3e'],
    [EVERYONE, 'app.a'],
  ])('the channel of the room %j is %s', (room, channel) => {
    expect(new ChannelNames('app').room(room)).toBe(channel)
  })

  it('a name that is too long is hashed, with lone surrogates kept distinct', () => {
    const channels = new ChannelNames('app')
    const long = 'x'.repeat(194)
    expect(channels.room(long)).toBe(`app.r.${long}`)
    expect(channels.room(`${long}x`)).toMatch(/^app\.h\.[A-Za-z0-9_-]{43}$/)
    expect(channels.room(`${long}\ud800`)).not.toBe(channels.room(`${long}\ud801`))
    expect(new ChannelNames('x'.repeat(300)).control).toMatch(/^_h[A-Za-z0-9_-]{43}\.c$/)
  })
})
