import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Subscriptions } from '../../src/cluster/subscriptions.ts'
import { EVERYONE } from '../../src/cluster/wire/channel-names.ts'

function make({ graceMs = 1_000, maxIdle = 100 } = {}) {
  const log: string[] = []
  const refused = new Set<string>()
  const confirm: (() => void)[] = []
  const subscriptions = new Subscriptions(
    {
      subscribe: (channel) => {
        log.push(`+${channel}`)
        if (refused.has(channel)) return Promise.reject(new Error(`no ${channel}`))
        return new Promise((resolve) => confirm.push(resolve))
      },
      unsubscribe: (channel) => log.push(`-${channel}`),
      failed: (error) => log.push(`failed ${error instanceof Error ? error.message : ''}`),
      ended: (channel) => log.push(`ended ${channel}`),
    },
    (room) => `#${room}`,
    graceMs,
    maxIdle,
  )
  const confirmAll = async () => {
    for (const resolve of confirm.splice(0)) resolve()
    await vi.advanceTimersByTimeAsync(0)
  }
  return { subscriptions, log, refused, confirmAll }
}

describe('Subscriptions', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('a room is subscribed once, until its grace period after the last member is over', async () => {
    const { subscriptions, log } = make()
    subscriptions.occupied('tea')
    subscriptions.vacated('tea')
    await vi.advanceTimersByTimeAsync(999)
    expect(log).toEqual(['+#tea'])
    expect(subscriptions.find('#tea')).toMatchObject({ room: 'tea', isIdle: true })
    await vi.advanceTimersByTimeAsync(1)
    expect(log).toEqual(['+#tea', '-#tea', 'ended #tea'])
    expect(subscriptions.find('#tea')).toBe(undefined)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('members who come back within the grace period cause no traffic to the engine', async () => {
    const { subscriptions, log } = make()
    for (let i = 0; i < 10; i++) {
      subscriptions.occupied('tea')
      subscriptions.vacated('tea')
      await vi.advanceTimersByTimeAsync(600)
    }
    subscriptions.occupied('tea')
    await vi.advanceTimersByTimeAsync(10_000)
    expect(log).toEqual(['+#tea'])
    expect(subscriptions.find('#tea')?.isIdle).toBe(false)
  })

  it('each grace period ends at its own time', async () => {
    const { subscriptions, log } = make()
    for (const room of ['1', '2', '3']) {
      subscriptions.occupied(room)
      subscriptions.vacated(room)
      await vi.advanceTimersByTimeAsync(400)
    }
    expect(log.filter((entry) => entry.startsWith('-'))).toEqual(['-#1'])
    await vi.advanceTimersByTimeAsync(400)
    expect(log.filter((entry) => entry.startsWith('-'))).toEqual(['-#1', '-#2'])
  })

  it('beyond the limit of rooms without members, the oldest subscription ends first', () => {
    const { subscriptions, log } = make({ maxIdle: 2 })
    for (const room of ['1', '2', '3']) {
      subscriptions.occupied(room)
      subscriptions.vacated(room)
    }
    expect(log.filter((entry) => entry.startsWith('-'))).toEqual(['-#1'])
    expect(subscriptions.rooms).toBe(2)
  })

  it('the age of an idle room counts from the last time it became idle', async () => {
    const { subscriptions, log } = make({ maxIdle: 2 })
    const pass = (room: string) => {
      subscriptions.occupied(room)
      subscriptions.vacated(room)
    }
    for (const room of ['1', '2', '3', '2', '4', '5']) pass(room)
    await vi.advanceTimersByTimeAsync(1_000)
    expect(subscriptions.rooms).toBe(0)
    for (const room of ['6', '7', '8', '9']) pass(room)
    const left = log.filter((entry) => entry.startsWith('-')).join(' ')
    expect(left).toBe('-#1 -#3 -#2 -#4 -#5 -#6 -#7')
  })

  it('a subscription is live once the engine has confirmed it, and not when it has ended before', async () => {
    const { subscriptions, confirmAll } = make({ graceMs: 0 })
    subscriptions.occupied('tea')
    const old = subscriptions.find('#tea')
    subscriptions.vacated('tea')
    await vi.advanceTimersByTimeAsync(0)
    subscriptions.occupied('tea')
    expect(subscriptions.find('#tea')).not.toBe(old)
    await confirmAll()
    expect(old?.isLive).toBe(false)
    expect(subscriptions.find('#tea')?.isLive).toBe(true)
  })

  it('a subscription says whether and when the engine has confirmed it', async () => {
    const { subscriptions, confirmAll } = make()
    subscriptions.occupied('tea')
    const tea = subscriptions.find('#tea')
    expect(tea).toMatchObject({ channel: '#tea', room: 'tea', isLive: false, liveAt: 0, isIdle: false })
    vi.advanceTimersByTime(50)
    const now = performance.now()
    await confirmAll()
    expect(tea).toMatchObject({ isLive: true, liveAt: now })
    const pinned = subscriptions.pin('control')
    expect(pinned).toMatchObject({ channel: 'control', room: undefined, isLive: false, isIdle: false })
    expect(subscriptions.find('control')).toBe(pinned)
    await confirmAll()
    await pinned.settled
    expect(pinned.isLive).toBe(true)
  })

  it('a room that nobody has occupied is not subscribed when it is vacated', async () => {
    const { subscriptions, log } = make({ graceMs: 0 })
    subscriptions.vacated('tea')
    await vi.advanceTimersByTimeAsync(10)
    expect(log).toEqual([])
    expect(vi.getTimerCount()).toBe(0)
  })

  it('settled waits for the confirmation of rooms, and not for a room that has lost its members', async () => {
    const { subscriptions, confirmAll } = make({ graceMs: 0 })
    subscriptions.occupied('tea')
    let settled = 0
    void subscriptions.settled(['tea', 'unknown']).then(() => settled++)
    await vi.advanceTimersByTimeAsync(0)
    expect(settled).toBe(0)
    await confirmAll()
    expect(settled).toBe(1)
    subscriptions.occupied('rum')
    void subscriptions.settled(['rum']).then(() => settled++)
    subscriptions.vacated('rum')
    await vi.advanceTimersByTimeAsync(0)
    expect(settled).toBe(2)
  })

  it('retry repeats refused subscriptions while they are wanted', async () => {
    const { subscriptions, log, refused, confirmAll } = make({ graceMs: 0 })
    refused.add('#tea').add('#rum')
    subscriptions.occupied('tea')
    subscriptions.occupied('rum')
    await vi.advanceTimersByTimeAsync(0)
    expect(log).toEqual(['+#tea', '+#rum', 'failed no #tea', 'failed no #rum'])
    subscriptions.vacated('rum')
    await vi.advanceTimersByTimeAsync(0)
    refused.clear()
    subscriptions.retry()
    subscriptions.retry()
    expect(log.slice(4)).toEqual(['-#rum', 'ended #rum', '+#tea'])
    await confirmAll()
    expect(subscriptions.find('#tea')?.isLive).toBe(true)
  })

  it('a refusal of a subscription that has ended is not reported', async () => {
    const { subscriptions, log, refused } = make({ graceMs: 0, maxIdle: 0 })
    refused.add('#tea')
    subscriptions.occupied('tea')
    subscriptions.vacated('tea')
    await vi.advanceTimersByTimeAsync(0)
    expect(log).toEqual(['+#tea', '-#tea', 'ended #tea'])
  })

  it('Subscriptions counts rooms, and lists the live ones, everyone among them', async () => {
    const { subscriptions, confirmAll } = make()
    subscriptions.pin('control')
    subscriptions.occupied(EVERYONE)
    subscriptions.occupied('tea')
    await confirmAll()
    subscriptions.occupied('rum')
    expect(subscriptions.rooms).toBe(2)
    expect(subscriptions.live(16)).toEqual([EVERYONE, 'tea'])
    expect(subscriptions.live(1)).toEqual([EVERYONE])
  })

  it('nextLive cycles through the live rooms', async () => {
    const { subscriptions, confirmAll } = make({ graceMs: 0 })
    const take = (count: number) => Array.from({ length: count }, () => subscriptions.nextLive())
    expect(take(2)).toEqual([undefined, undefined])
    for (const room of ['1', '2']) subscriptions.occupied(room)
    expect(take(1)).toEqual([undefined])
    await confirmAll()
    subscriptions.occupied('3')
    expect(take(3)).toEqual(['1', '2', '1'])
    await confirmAll()
    subscriptions.vacated('2')
    await vi.advanceTimersByTimeAsync(0)
    expect(take(4)).toEqual(['3', '1', '3', '1'])
  })

  it('closing forgets what the engine refused, and what it confirms later', async () => {
    const { subscriptions, log, refused, confirmAll } = make()
    refused.add('#tea')
    subscriptions.occupied('tea')
    subscriptions.occupied('rum')
    const rum = subscriptions.find('#rum')
    await vi.advanceTimersByTimeAsync(0)
    subscriptions.close()
    subscriptions.retry()
    await confirmAll()
    expect(log).toEqual(['+#tea', '+#rum', 'failed no #tea'])
    expect([rum?.isLive, subscriptions.rooms, subscriptions.nextLive()]).toEqual([false, 0, undefined])
    expect(subscriptions.live(9)).toEqual([])
  })

  it('closing forgets all subscriptions and settles everything that waits', async () => {
    const { subscriptions, log } = make()
    const pinned = subscriptions.pin('control')
    subscriptions.occupied('tea')
    subscriptions.vacated('tea')
    subscriptions.close()
    await pinned.settled
    subscriptions.vacated('tea')
    expect(subscriptions.find('control')).toBe(undefined)
    expect(log).toEqual(['+control', '+#tea'])
    expect(vi.getTimerCount()).toBe(0)
  })
})
