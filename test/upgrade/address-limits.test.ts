import type { IncomingMessage } from 'node:http'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Counts } from '../../src/base/counts.ts'
import { TokenBucket } from '../../src/base/token-bucket.ts'
import { AddressLimits } from '../../src/upgrade/address-limits.ts'

const none = { maxConnectionsPerAddress: 0, maxUpgradesPerSecondPerAddress: 0, maxPendingUpgrades: 10 }
const refused = (code: string) => expect.objectContaining({ code, status: 429 })

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

describe('AddressLimits', () => {
  it('admits everything without limits', () => {
    const admission = new AddressLimits(none)
    for (let i = 0; i < 100; i++) {
      admission.check('1.1.1.1')
      admission.enter('1.1.1.1')
    }
  })

  it('admits a limited number of connections of an address at once', () => {
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

  it('admits a limited number of upgrades of an address at once, and then a limited rate', () => {
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
    for (const ms of [0, 10_000, 999]) vi.advanceTimersByTime(ms) // starts anywhere
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

  it('does not count clients without an address', () => {
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

  it('keeps no address if connections have no limit, and nothing for clients without an address', () => {
    const kept = [vi.spyOn(Counts.prototype, 'add'), vi.spyOn(Counts.prototype, 'remove')]
    const unlimited = new AddressLimits({ ...none, maxUpgradesPerSecondPerAddress: 1 })
    unlimited.enter('1.1.1.1')
    unlimited.leave('1.1.1.1')
    const limited = new AddressLimits({ ...none, maxConnectionsPerAddress: 1 })
    limited.enter(undefined)
    limited.leave(undefined)
    expect(kept.flatMap(({ mock }) => mock.calls)).toEqual([])
    limited.enter('1.1.1.1')
    limited.leave('1.1.1.1')
    expect(kept.flatMap(({ mock }) => mock.calls)).toEqual([['1.1.1.1'], ['1.1.1.1']])
  })

  it('says which limit an address has reached', () => {
    const admission = new AddressLimits({
      ...none,
      maxConnectionsPerAddress: 1,
      maxUpgradesPerSecondPerAddress: 2,
    })
    admission.enter('1.1.1.1')
    expect(() => admission.check('1.1.1.1')).toThrow('too many connections from this address')
    admission.leave('1.1.1.1')
    admission.check('1.1.1.1')
    expect(() => admission.check('1.1.1.1')).toThrow('too many connections were opened in a second')
  })

  it('forgets, once a second, the addresses that made no upgrade in the last second', () => {
    const looks = vi.spyOn(TokenBucket.prototype, 'isFull') // at each address that is remembered
    const looksAt = (address: string) => {
      looks.mockClear()
      admission.check(address)
      return looks.mock.calls.length
    }
    const admission = new AddressLimits({ ...none, maxUpgradesPerSecondPerAddress: 1 })
    vi.advanceTimersByTime(10_000)
    expect([looksAt('1.1.1.1'), looksAt('2.2.2.2')]).toEqual([0, 0])
    vi.advanceTimersByTime(999)
    expect(looksAt('3.3.3.3')).toBe(0)
    vi.advanceTimersByTime(1)
    expect(looksAt('4.4.4.4')).toBe(3)
    expect(looksAt('1.1.1.1')).toBe(0)
    vi.advanceTimersByTime(1_000)
    expect(looksAt('5.5.5.5')).toBe(3) // 3.3.3.3, 4.4.4.4 and 1.1.1.1
  })

  const from = (remoteAddress: string | undefined) =>
    ({ socket: { remoteAddress } }) as unknown as IncomingMessage // nothing else is read

  /** How many upgrades a peer may have pending at once. */
  function pendingOf(admission: AddressLimits, peer: string): number {
    const leaves: (() => void)[] = []
    try {
      while (leaves.length < 100) leaves.push(admission.enterPending(from(peer)))
    } catch (error) {
      expect(error).toEqual(refused('WSHUB_ERR_TOO_MANY_CONNECTIONS'))
    }
    for (const leave of leaves) leave()
    return leaves.length
  }

  describe('#enterPending', () => {
    it('counts nothing without limits', () => {
      const admission = new AddressLimits(none)
      for (let i = 0; i < 100; i++) admission.enterPending(from('1.1.1.1'))
      for (let i = 0; i < 100; i++) admission.enterPending(from('1.1.1.1'))()
    })

    it('counts pending upgrades with the connections of their address', () => {
      const admission = new AddressLimits({ ...none, maxConnectionsPerAddress: 3 })
      expect(pendingOf(admission, '1.1.1.1')).toBe(3)
      admission.enter('1.1.1.1')
      expect(pendingOf(admission, '1.1.1.1')).toBe(2)
      expect(pendingOf(admission, '::ffff:1.1.1.1')).toBe(2)
      expect(pendingOf(admission, '2.2.2.2')).toBe(3)
      admission.leave('1.1.1.1')
      expect(pendingOf(admission, '1.1.1.1')).toBe(3)
    })

    it.each([
      [10, 5],
      [7, 3],
      [1, 1],
    ])('gives, of %d pending upgrades, an address without a limit of connections %d', (most, share) => {
      const limits = { ...none, maxUpgradesPerSecondPerAddress: 100, maxPendingUpgrades: most }
      expect(pendingOf(new AddressLimits(limits), '1.1.1.1')).toBe(share)
    })

    it('does not count clients without an address', () => {
      const admission = new AddressLimits({ ...none, maxConnectionsPerAddress: 1 })
      for (let i = 0; i < 3; i++) admission.enterPending(from(undefined))
    })

    it("counts by the hub's own rule, and by the TCP peer if that throws", () => {
      const admission = new AddressLimits({ ...none, maxConnectionsPerAddress: 2 }, ({ socket }) => {
        if (socket.remoteAddress === '10.0.0.1') return '1.1.1.1'
        throw new Error('who is that?')
      })
      admission.enter('1.1.1.1')
      expect(pendingOf(admission, '10.0.0.1')).toBe(1)
      expect(pendingOf(admission, '10.0.0.2')).toBe(2)
    })
  })

  describe('a peer by which clients with other addresses came', () => {
    const limits = { ...none, maxConnectionsPerAddress: 1 }

    it('may have half of all pending upgrades', () => {
      const admission = new AddressLimits(limits)
      expect(pendingOf(admission, '10.0.0.1')).toBe(1)
      admission.check('1.1.1.1', '10.0.0.1')
      expect(pendingOf(admission, '10.0.0.1')).toBe(5)
      expect(pendingOf(admission, '10.0.0.2')).toBe(1)
    })

    it('is remembered while it is one of the 1,000 most recent', () => {
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

    it('is no proxy if it is the client itself, or has no address', () => {
      const admission = new AddressLimits(limits)
      admission.check('10.0.0.1')
      admission.check('10.0.0.1', '10.0.0.1')
      admission.check('1.1.1.1', undefined)
      expect(pendingOf(admission, '10.0.0.1')).toBe(1)
      expect(pendingOf(admission, '1.1.1.1')).toBe(1)
    })

    it('has no more than a client if the hub itself knows the proxies', () => {
      const admission = new AddressLimits(limits, () => '1.1.1.1')
      admission.check('2.2.2.2', '1.1.1.1')
      expect(pendingOf(admission, '10.0.0.1')).toBe(1)
    })
  })
})
