import { expect, it } from 'vitest'
import { WAIT_MS } from '../support/in-time.ts'
import type { ClusterFixture } from './cluster-fixture.ts'
import { hasUsers, usersChanges } from './presence-cases.ts'
import type { RemoteHub } from './remote-hub.ts'
import { Traffic } from './traffic.ts'

/**
 * 16 MB, more than the buffers between a process and an engine hold, in rounds that a live process keeps up
 * with.
 */
const ROUNDS = 50
const A_ROUND = 20
const PADDING_BYTES = 16_384
/** Time for the answers to a call of which one never comes: long enough for the others, on busy cores. */
const PATIENCE = { timeoutMs: 5_000 }
/** Users on the process that is killed. */
const DOOMED_USERS = 1_000

/** Tests of a cluster when the process of a hub stops or dies. */
export function processCases(cluster: ClusterFixture): void {
  it('calls name a stopped process as missing, and none fails', async () => {
    const [a, b, c] = await cluster.three()
    // Two rooms: calls for a room and for connections may take different ways, and so pass each other.
    for (const member of [a, b, c]) {
      await cluster.enter(member, 'frozen')
      await cluster.enter(member, 'left')
    }
    const answers = await frozen(b.hub, () =>
      Promise.all([
        a.hub.call('call', 'echo', 'x', PATIENCE),
        a.hub.call('roomSize', 'frozen', PATIENCE),
        a.hub.call('members', 'frozen', PATIENCE),
        a.hub.call('connections', PATIENCE),
        a.hub.call('nodes', PATIENCE),
        a.hub.call('join', { all: true }, 'thaw', PATIENCE),
        a.hub.call('leave', { id: [a.id, b.id, c.id] }, 'left', PATIENCE),
      ]),
    )
    for (const { results, missing, tookMs } of answers) {
      expect(results).toHaveLength(2)
      expect(missing).toEqual([b.hub.node])
      expect(tookMs).toBeGreaterThanOrEqual(PATIENCE.timeoutMs - 10)
    }
    const [echoes] = answers
    expect(echoes.results.map(({ value, error }) => value ?? error)).toEqual(['x', 'x'])
    await b.hub.until('what it was asked', ({ stats }) => stats.rooms > 0)
    expect(await a.hub.call('call', 'echo', 'x')).toMatchObject({ results: { length: 3 }, missing: [] })
    expect(await a.hub.call('roomSize', 'thaw')).toMatchObject({ count: 3, missing: [] }) // it has done it, late
  })

  it('only a process that does not read loses messages; it knows how many, and recovers', async () => {
    const members = await cluster.three()
    const [a, b, c] = members
    const room = cluster.newRoom()
    for (const member of members) await cluster.enter(member, room)
    const traffic = new Traffic(members, room)
    await traffic.start()
    await frozen(b.hub, async () => {
      for (let round = 0; round < ROUNDS; round++) {
        await a.hub.call('publish', room, A_ROUND, PADDING_BYTES)
        await c.reached(a.hub, room, (await a.hub.call('published', room)) - 1)
      }
    })
    await traffic.returns()
    for (const { from, to, lost } of await traffic.end()) {
      if (from === a.hub && to === b.hub) expect(lost).toBeGreaterThan(0)
      if (from !== b.hub && to !== b.hub) expect(lost).toBe(0)
    }
  })

  // The last test, since it kills one of the three.
  it('a call ends and names a process that is killed meanwhile; the others continue', async () => {
    const [a, b, c] = await cluster.three()
    for (const member of [a, b, c]) await cluster.enter(member, 'doomed', 'presence-doomed')
    const users = Array.from({ length: DOOMED_USERS }, (_, index) => `user-${index}`)
    await b.hub.call('crowd', 'presence-doomed', users)
    await hasUsers(a.hub, 'presence-doomed', ['far:1', 'one:1', 'two:1', ...users.map((user) => `${user}:1`)])
    // Ends when the process is known to be gone, and the others have been released.
    const called = a.hub.call('call', 'wait', '', { timeoutMs: WAIT_MS })
    for (const { hub } of [a, b, c]) await hub.until('the call', ({ waiting }) => waiting === 1)
    b.hub.signal('SIGKILL')
    for (const { hub } of [a, c]) await hub.call('release')
    const { results, missing } = await called
    expect(results.map(({ node }) => node).toSorted()).toEqual([a.hub.node, c.hub.node].toSorted())
    expect(missing).toEqual([b.hub.node])
    expect(await b.closed()).toBe('1006')
    for (const [from, to] of [
      [a, c],
      [c, a],
    ] as const) {
      await from.hub.call('publish', 'doomed', 1)
      await to.reached(from.hub, 'doomed', 0)
    }
    expect((await a.hub.call('seen')).stats.pendingCalls).toBe(0)
    for (const { hub } of [a, c]) await hasUsers(hub, 'presence-doomed', ['far:1', 'one:1'])
    for (const { hub } of [a, c]) {
      const left = (await usersChanges(hub, 'presence-doomed')).filter((change) => change.left.length > 0)
      expect(left.map((change) => change.left.length)).toEqual([DOOMED_USERS + 1])
    }
  })
}

/** Stops a process for as long as something lasts, and no longer, whether it fails or not. */
async function frozen<T>(hub: RemoteHub, run: () => Promise<T>): Promise<T> {
  hub.signal('SIGSTOP')
  try {
    return await run()
  } finally {
    hub.signal('SIGCONT')
  }
}
