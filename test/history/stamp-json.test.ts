import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { stampJson } from 'wshub'

const PLACE = { room: 'room', position: 'epoch.7.tag' }

describe('stampJson', () => {
  it('adds "at" to an object as its first key', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string(), fc.jsonValue()),
        fc.constantFrom(undefined, 2, '\t'),
        (object, space) => {
          const stamped = JSON.parse(stampJson(JSON.stringify(object, null, space), PLACE))
          expect(stamped).toEqual({ at: PLACE.position, ...JSON.parse(JSON.stringify(object)) })
        },
      ),
    )
  })

  it.each([
    ['{}', '{"at":"epoch.7.tag"}'],
    [' {\n} ', ' {\n"at":"epoch.7.tag"} '],
    ['{"n":1}', '{"at":"epoch.7.tag","n":1}'],
    ['{"at":1}', '{"at":"epoch.7.tag","at":1}'],
  ])('makes %j to %j', (data, stamped) => {
    expect(stampJson(data, PLACE)).toBe(stamped)
  })

  it.each([
    '',
    '[]',
    '[{"n":1}]',
    '"{}"',
    '1',
    'null',
    '{',
    '{n:1}',
    '{"n":1',
    'x{"n":1}',
    '{"n":1}x',
    '{,}',
  ])('leaves %j as it is', (data) => {
    expect(stampJson(data, PLACE)).toBe(data)
  })

  it('leaves bytes as they are', () => {
    const data = Buffer.from('{"n":1}')
    expect(stampJson(data, PLACE)).toBe(data)
  })

  it('takes time that grows with the length alone', () => {
    const hostile = [
      `{"${'}'.repeat(1_000_000)}x`,
      `{"${'} '.repeat(500_000)}x`,
      `{${' '.repeat(1_000_000)}x`,
      `{"}${' '.repeat(1_000_000)}x`,
    ]
    const start = performance.now()
    for (const data of hostile) expect(stampJson(data, PLACE)).toBe(data)
    expect(performance.now() - start).toBeLessThan(2_000)
  })
})
