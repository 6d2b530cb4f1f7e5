import type { IncomingMessage } from 'node:http'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { AddressLimits } from '../../src/upgrade/address-limits.ts'

const none = { maxConnectionsPerAddress: 0, maxUpgradesPerSecondPerAddress: 0, maxPendingUpgrades: 10 }
const refused = (code: string) => expect.objectContaining({ code, status: 429 })

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

describe('AddressLimits', () => {
  it('admits everything without limits', () => {
    const admission = new AddressLimits(none)
    for (let i = 0; i < 100; i++) {
      admission.check('1.1.1.1')
      admission.enter('1.1.1.1')
    }
  })

  it('admits so many connections of an address at once', () => {
    const admission = new AddressLimits({ ...none, maxConnectionsPerAddress: 2 })
    admission.enter('1.1.1.1')
    admission.check('1.1.1.1')
    admission.enter('::ffff:1.1.1.1')
    expect(() => admission.check('1.1.1.1')).toThrow(refused('WSHUB_ERR_TOO_MANY_CONNECTIONS'))
    admission.check('2.2.2.2')
    admission.leave('1.1.1.1')
    admission.check('1.1.1.1')
  })

  it('counts IPv6 addresses by their first 64 bits', () => {
    const admission = new AddressLimits({ ...none, maxConnectionsPerAddress: 1 })
    admission.enter('2001:db8:0:1::1')
    expect(() => admission.check('2001:db8:0:1:ffff::2')).toThrow(refused('WSHUB_ERR_TOO_MANY_CONNECTIONS'))
    admission.check('2001:db8:0:2::1')
  })

  it('admits so many upgrades of an address at once, and so many a second behind them', () => {
    const admission = new AddressLimits({ ...none, maxUpgradesPerSecondPerAddress: 3 })
    const isAdmitted = (address: string) => {
      try {
        admission.check(address)
        return true
      } catch (error) {
        expect(error).toEqual(refused('WSHUB_ERR_TOO_MANY_UPGRADES'))
        return false
      }
    }
    const admitted = (upgrades: number) =>
      Array.from({ length: upgrades }, () => isAdmitted('1.1.1.1')).filter(Boolean).length
    for (const ms of [0, 10_000, 999]) vi.advanceTimersByTime(ms) // begins anywhere
    expect(admitted(5)).toBe(3)
    expect(isAdmitted('2.2.2.2')).toBe(true)
    let behind = 0
    for (let ms = 0; ms < 10_000; ms += 100) {
      vi.advanceTimersByTime(100)
      behind += admitted(2)
    }
    expect(behind).toBe(30)
    vi.advanceTimersByTime(1_000)
    expect(admitted(5)).toBe(3)
  })

  it('does not count who has no address', () => {
    const admission = new AddressLimits({
      maxConnectionsPerAddress: 1,
      maxUpgradesPerSecondPerAddress: 1,
      maxPendingUpgrades: 10,
    })
    for (let i = 0; i < 3; i++) {
      admission.check(undefined)
      admission.enter(undefined)
    }
    admission.leave(undefined)
  })

  describe('a peer by which clients with other addresses came', () => {
    const limits = { ...none, maxConnectionsPerAddress: 1 }
    const from = (remoteAddress: string) => ({ socket: { remoteAddress } }) as unknown as IncomingMessage // all that is read

    /** How many upgrades a peer may have pending at once. */
    function pendingOf(admission: AddressLimits, peer: string): number {
      const leaves: (() => void)[] = []
      try {
        for (;;) leaves.push(admission.enterPending(from(peer)))
      } catch (error) {
        expect(error).toEqual(refused('WSHUB_ERR_TOO_MANY_CONNECTIONS'))
      }
      for (const leave of leaves) leave()
      return leaves.length
    }

    it('may have half of all pending upgrades', () => {
      const admission = new AddressLimits(limits)
      expect(pendingOf(admission, '10.0.0.1')).toBe(1)
      admission.check('1.1.1.1', '10.0.0.1')
      expect(pendingOf(admission, '10.0.0.1')).toBe(5)
      expect(pendingOf(admission, '10.0.0.2')).toBe(1)
    })

    it('is remembered while it is one of the 1,000 that were told last', () => {
      const admission = new AddressLimits(limits)
      admission.check('1.1.1.1', '10.0.0.1')
      admission.check('1.1.1.1', '10.0.0.2')
      for (let i = 0; i < 998; i++) admission.check('1.1.1.1', `10.1.${i >> 8}.${i & 255}`)
      admission.check('1.1.1.1', '10.0.0.1')
      expect(pendingOf(admission, '10.0.0.2')).toBe(5)
      admission.check('1.1.1.1', '10.2.0.0')
      expect(pendingOf(admission, '10.2.0.0')).toBe(5)
      expect(pendingOf(admission, '10.0.0.1')).toBe(5)
      expect(pendingOf(admission, '10.0.0.2')).toBe(1)
    })

    it('has no more than a client where the hub itself knows the proxies', () => {
      const admission = new AddressLimits(limits, () => '1.1.1.1')
      admission.check('2.2.2.2', '1.1.1.1')
      expect(pendingOf(admission, '10.0.0.1')).toBe(1)
    })
  })
})
