import { expect, it } from 'vitest'
import type { ClusterFixture } from './cluster-fixture.ts'
import { hasUsers } from './presence-cases.ts'
import { Traffic } from './traffic.ts'

/** An outage of an engine. */
export interface Outage {
  begin(): Promise<unknown> | unknown
  /** Resolves when the engine is up again. */
  end(): Promise<unknown> | unknown
  /** The hubs that are `reconnecting` and lose messages meanwhile: all, the far one, or none. */
  readonly hits: 'all' | 'far' | 'none'
  /** Whether it lasts until the clients of the engine reconnect at their slowest pace. */
  readonly isLong?: boolean
}

/** Rounds of twenty messages each: about two seconds. */
const LONG_ROUNDS = 20

/** Tests of a cluster during and after an outage of its engine. */
export function faultCases(cluster: ClusterFixture, outage: Outage): void {
  it('local delivery continues, losses are reported, and everything flows soon after the outage', async () => {
    const members = await cluster.three()
    const [, , far] = cluster.hubs
    const isHit = (...hubs: unknown[]) =>
      outage.hits === 'all' || (outage.hits === 'far' && hubs.includes(far))
    const hit = cluster.hubs.filter((hub) => isHit(hub))
    const room = cluster.newRoom()
    const ofUsers = `presence-${room}`
    for (const member of members) await cluster.enter(member, room, ofUsers)
    const traffic = new Traffic(members, room)
    await traffic.start()

    await outage.begin()
    try {
      await traffic.flowsLocally(20)
      // A primary of node:cluster that is stopped passes on no call.
      if (outage.hits !== 'none') await cluster.hubs[0].call('crowd', ofUsers, ['three'])
      for (const hub of hit) await hub.until('the outage', ({ state }) => state === 'reconnecting')
      for (let round = 0; round < (outage.isLong ? LONG_ROUNDS : 1); round++) await traffic.flowsLocally(20)
    } finally {
      await outage.end()
    }
    await traffic.returns()
    if (outage.hits === 'none') await cluster.hubs[0].call('crowd', ofUsers, ['three'])
    for (const hub of cluster.hubs) await hasUsers(hub, ofUsers, ['far:1', 'one:1', 'three:1', 'two:1'])
    await cluster.hubs[0].call('endCrowd')

    for (const { from, to, lost } of await traffic.end()) {
      if (from !== to && isHit(from, to)) expect(lost).toBeGreaterThan(0)
      else expect(lost).toBe(0)
    }
    for (const hub of cluster.hubs) {
      const { state, faults } = await hub.call('seen')
      expect(state).toBe('connected')
      if (hit.includes(hub)) expect(faults).toContain('WSHUB_ERR_BACKPLANE')
    }
  })
}
