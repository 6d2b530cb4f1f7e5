import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Admission } from '../src/admission.ts'

const none = { maxConnectionsPerAddress: 0, maxUpgradesPerSecondPerAddress: 0 }
const refused = (code: string) => expect.objectContaining({ code, status: 429 })

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

describe('Admission', () => {
  it('admits everything without limits', () => {
    const admission = new Admission(none)
    for (let i = 0; i < 100; i++) {
      admission.check('1.1.1.1')
      admission.enter('1.1.1.1')
    }
  })

  it('admits so many connections of an address at once', () => {
    const admission = new Admission({ ...none, maxConnectionsPerAddress: 2 })
    admission.enter('1.1.1.1')
    admission.check('1.1.1.1')
    admission.enter('::ffff:1.1.1.1')
    expect(() => admission.check('1.1.1.1')).toThrow(refused('WSHUB_ERR_TOO_MANY_CONNECTIONS'))
    admission.check('2.2.2.2')
    admission.leave('1.1.1.1')
    admission.check('1.1.1.1')
  })

  it('counts IPv6 addresses by their first 64 bits', () => {
    const admission = new Admission({ ...none, maxConnectionsPerAddress: 1 })
    admission.enter('2001:db8:0:1::1')
    expect(() => admission.check('2001:db8:0:1:ffff::2')).toThrow(refused('WSHUB_ERR_TOO_MANY_CONNECTIONS'))
    admission.check('2001:db8:0:2::1')
  })

  it('admits so many upgrades of an address in a second', () => {
    const admission = new Admission({ ...none, maxUpgradesPerSecondPerAddress: 2 })
    vi.advanceTimersByTime(5_000)
    admission.check('1.1.1.1')
    admission.check('1.1.1.1')
    expect(() => admission.check('1.1.1.1')).toThrow(refused('WSHUB_ERR_TOO_MANY_UPGRADES'))
    admission.check('2.2.2.2')
    vi.advanceTimersByTime(999)
    expect(() => admission.check('1.1.1.1')).toThrow(refused('WSHUB_ERR_TOO_MANY_UPGRADES'))
    vi.advanceTimersByTime(1)
    admission.check('1.1.1.1')
  })

  it('does not count who has no address', () => {
    const admission = new Admission({ maxConnectionsPerAddress: 1, maxUpgradesPerSecondPerAddress: 1 })
    for (let i = 0; i < 3; i++) {
      admission.check(undefined)
      admission.enter(undefined)
    }
    admission.leave(undefined)
  })
})
