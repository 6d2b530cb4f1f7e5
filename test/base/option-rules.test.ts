import { describe, expect, it } from 'vitest'
import { checkKeys, inRange, integersOf, strings } from '../../src/base/option-rules.ts'

const invalid = (message: string) => expect.objectContaining({ code: 'WSHUB_ERR_INVALID_OPTION', message })

describe('checkKeys', () => {
  it.each([null, 7, 'x', ['x'], undefined])('refuses %o, which is no object of options', (options) => {
    expect(() => checkKeys(options, { a: 1 }, 'an option of a test')).toThrow(
      /^expected an object of options, not /,
    )
  })

  it('refuses an unknown key, even one that every object inherits', () => {
    expect(() => checkKeys({ a: 1 }, { a: 1 }, 'an option of a test')).not.toThrow()
    expect(() => checkKeys({ toString: 1 }, { a: 1 }, 'an option of a test')).toThrow(
      invalid('"toString" is not an option of a test'),
    )
  })
})

describe('inRange', () => {
  it('returns an integer from least to most', () => {
    expect([1, 5, 9].map((value) => inRange('key', value, 1, 9))).toEqual([1, 5, 9])
  })

  it.each([0, 10, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '5', 5n, null])('refuses %o', (value) => {
    expect(() => inRange('key', value, 1, 9)).toThrow(/^key is an integer from 1 to 9, not /)
  })
})

describe('integersOf', () => {
  const defaults = { a: 1, b: 2 }

  it('reads options and defaults; an explicit undefined means the default, and 0 is kept', () => {
    const integer = integersOf({ a: undefined, b: 0 }, defaults)
    expect([integer('a', 0), integer('b', 0)]).toEqual([1, 0])
  })

  it('refuses what is out of range, with the prefix in the message', () => {
    const integer = integersOf({ a: 2 ** 31 }, { a: 1 }, 'limits.')
    expect(() => integer('a', 1)).toThrow(
      invalid('limits.a is an integer from 1 to 2147483647, not 2147483648'),
    )
    expect(() => integersOf({ a: 5 }, { a: 1 })('a', 1, 4)).toThrow(
      invalid('a is an integer from 1 to 4, not 5'),
    )
  })
})

describe('strings', () => {
  it('returns a frozen copy', () => {
    const value = ['a', 'b']
    const copy = strings('key', value)
    expect(copy).toEqual(value)
    expect(copy).not.toBe(value)
    expect(Object.isFrozen(copy)).toBe(true)
  })

  it.each(['a', [''], [7], null, new Set(['a'])])('refuses %o', (value) => {
    expect(() => strings('key', value)).toThrow(/^key is an array of non-empty strings, not /)
  })
})
