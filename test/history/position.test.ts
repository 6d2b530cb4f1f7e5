import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { positionOf, readPosition } from '../../src/history/position.ts'
import { received, serveHistory, text } from './support.ts'

const characters = 'ABCXYZabcxyz0189_-'.split('')
const word = (maxLength: number, minLength = 0) =>
  fc.string({ unit: fc.constantFrom(...characters), minLength, maxLength })
const mark = fc.record({ epoch: word(32, 1), offset: fc.maxSafeNat(), tag: word(16) })

/** Whatever a client may send as a position. */
const hostile: fc.Arbitrary<unknown> = fc.oneof(
  fc.anything({ withBigInt: true, withSparseArray: true, withTypedArray: true, withNullPrototype: true }),
  fc.string(),
  fc.string({ unit: 'binary', size: 'large' }),
  mark.map((one) => `${positionOf(one)}\n`),
  mark.map((one) => positionOf({ ...one, offset: one.offset + 0.5 })),
  fc.constantFrom('.', '..', 'a.-1', 'a.01', 'a.1.', 'a.9007199254740992', 'a.1e3', `${'a'.repeat(33)}.1`),
)

describe('positionOf', () => {
  it('gives what readPosition reads', () => {
    fc.assert(
      fc.property(mark, (one) => {
        const position = positionOf(one)
        expect(readPosition(position)).toEqual(one)
        expect(position).toMatch(/^[A-Za-z0-9_.-]{1,80}$/)
        expect(JSON.parse(`"${position}"`)).toBe(position)
      }),
    )
  })
})

describe('readPosition', () => {
  it('returns a mark that it gives back itself, or nothing', () => {
    fc.assert(
      fc.property(hostile, (value) => {
        const read = readPosition(value)
        if (read !== undefined) expect(positionOf(read)).toBe(value)
      }),
    )
  })

  it('does not look at what lies behind 80 characters', () => {
    const start = performance.now()
    for (let count = 0; count < 1_000; count++) {
      expect(readPosition('a'.repeat(10_000_000))).toBeUndefined()
    }
    expect(performance.now() - start).toBeLessThan(5_000)
  })

  it('does not call a getter or a proxy', () => {
    const trap = () => {
      throw new Error('it was looked at')
    }
    const proxy = new Proxy({}, { get: trap, has: trap, ownKeys: trap, getPrototypeOf: trap })
    expect(readPosition(proxy)).toBeUndefined()
  })
})

describe('Hub', () => {
  describe('#resumeRoom', () => {
    it('takes whatever a client sends as a position', async () => {
      const { hub, connect } = await serveHistory()
      for (const n of [1, 2, 3]) await hub.publish('chat', text(n))
      const { client, connection } = await connect()
      let runs = 0
      await fc.assert(
        fc.asyncProperty(hostile, async (since) => {
          const result = await hub.resumeRoom(connection, 'chat', { since })
          runs++
          const isNone = since === undefined || since === null
          expect(result).toMatchObject({ complete: isNone, replayed: 0 })
        }),
        { numRuns: 200 },
      )
      expect(runs).toBeGreaterThanOrEqual(200)
      expect(await received(connection, client)).toEqual([])
    })

    it('knows a position of another room, of the future, and of another epoch', async () => {
      const { hub, connect } = await serveHistory()
      const { position: other } = await hub.publish('other', text(1))
      const { position } = await hub.publish('chat', text(1))
      const { connection } = await connect()
      const [epoch] = position.split('.')
      for (const since of [other, `${epoch}.2`, `${epoch}.2.0`, `${epoch}.1.x`, 'AAAAAAAAAAAA.1']) {
        const result = await hub.resumeRoom(connection, 'chat', { since })
        expect([since, result]).toEqual([since, { complete: false, replayed: 0, position }])
        expect((await hub.history('chat', { since })).complete).toBe(false)
      }
      expect(await hub.resumeRoom(connection, 'chat', { since: position })).toMatchObject({ complete: true })
    })

    it.each([{ last: 0 }, { last: 1.5 }, { last: '5' }, { limit: 5 }, 'a string', null])(
      'refuses %o in place of its options',
      async (from) => {
        const { hub, connect } = await serveHistory()
        const { connection } = await connect()
        const refused = { code: 'WSHUB_ERR_INVALID_OPTION' }
        await expect(hub.resumeRoom(connection, 'chat', from as never)).rejects.toMatchObject(refused)
        await expect(hub.history('chat', from as never)).rejects.toMatchObject(refused)
        expect(connection.rooms.size).toBe(0)
      },
    )
  })
})
