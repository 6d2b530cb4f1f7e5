import { expect, it } from 'vitest'
import type { ClusterFixture } from './cluster-fixture.ts'
import { Traffic } from './traffic.ts'

/** Something that happens to an engine, and ends. */
export interface Outage {
  begin(): Promise<unknown> | unknown
  /** Resolves when the engine is there again. */
  end(): Promise<unknown> | unknown
  /** Whose messages are lost, to whom, and who is `reconnecting` meanwhile: all, those of the far hub, or none. */
  readonly hits: 'all' | 'far' | 'none'
  /** Whether it lasts until the clients of the engine have become slow to try again. */
  readonly isLong?: boolean
}

/** Of twenty messages each: about two seconds. */
const LONG_ROUNDS = 20

/** What becomes of the cluster when the engine fails. */
export function faultCases(cluster: ClusterFixture, outage: Outage): void {
  it('goes on locally, reports what is lost, and has everything flow soon after the end', async () => {
    const members = await cluster.three()
    const [, , far] = cluster.hubs
    const isHit = (...hubs: unknown[]) =>
      outage.hits === 'all' || (outage.hits === 'far' && hubs.includes(far))
    const hit = cluster.hubs.filter((hub) => isHit(hub))
    const room = cluster.newRoom()
    for (const member of members) await cluster.enter(member, room)
    const traffic = new Traffic(members, room)
    await traffic.start()

    await outage.begin()
    try {
      await traffic.flowsLocally(20)
      for (const hub of hit) await hub.until('the outage', ({ state }) => state === 'reconnecting')
      for (let round = 0; round < (outage.isLong ? LONG_ROUNDS : 1); round++) await traffic.flowsLocally(20)
    } finally {
      await outage.end()
    }
    await traffic.returns()

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
