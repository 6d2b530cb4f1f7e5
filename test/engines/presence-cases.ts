import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import type { RoomPresence } from 'wshub'
import { WAIT_MS } from '../support/in-time.ts'
import type { ClusterFixture } from './cluster-fixture.ts'
import type { RemoteHub } from './remote-hub.ts'

/** The number of users who move to another node at once. */
const MOVING_USERS = 50

/** Tests of who is in a room, on each of the nodes. */
export function presenceCases(cluster: ClusterFixture): void {
  it('users are the same on all nodes, as they come, move and go', async () => {
    const members = await cluster.three()
    const [a, b] = members
    const room = `presence-${cluster.newRoom()}`
    for (const member of members) await cluster.enter(member, room)
    for (const { hub } of members) await hasUsers(hub, room, ['far:1', 'one:1', 'two:1'])
    await b.hub.call('crowd', room, ['one'])
    for (const { hub } of members) await hasUsers(hub, room, ['far:1', 'one:2', 'two:1'])
    await a.hub.call('disconnect', { id: a.id }, 1_000, '')
    for (const { hub } of members) await hasUsers(hub, room, ['far:1', 'one:1', 'two:1'])
    await b.hub.call('endCrowd')
    const others = members.filter(({ hub }) => hub !== a.hub)
    for (const { hub } of others) await hasUsers(hub, room, ['far:1', 'two:1'])
    for (const { hub } of others) {
      const changes = await usersChanges(hub, room)
      expect(changes.flatMap(({ left }) => left)).toEqual(['one'])
      expect(changes.flatMap(({ joined }) => joined).toSorted()).toEqual(['far', 'one', 'two'])
    }
  })

  it('users of a node that closes move to another one without a change', async () => {
    const [a, , c] = await cluster.three()
    const { spare } = cluster
    await spare.open()
    await cluster.hubs[0].until('the fourth node', ({ stats }) => stats.nodes === 4)
    const room = `presence-${cluster.newRoom()}`
    const users = Array.from({ length: MOVING_USERS }, (_, index) => `user-${index}`)
    await cluster.enter(c, room)
    await spare.call('crowd', room, users)
    const all = ['far:1', ...users.map((user) => `${user}:1`)]
    await hasUsers(c.hub, room, all)
    await a.hub.call('gather', users) // their handshakes take none of the time that they have to come back
    await Promise.all([spare.call('close'), a.hub.call('seat', room, users)])
    await hasUsers(c.hub, room, all)
    await cluster.acquainted()
    await a.hub.call('endCrowd')
    await hasUsers(c.hub, room, ['far:1'])
    const changes = await usersChanges(c.hub, room)
    expect(changes.flatMap(({ left }) => left).toSorted()).toEqual(users.toSorted())
    expect(changes.flatMap(({ joined }) => joined).toSorted()).toEqual(['far', ...users].toSorted())
  })
}

/** Resolves when a hub tells exactly these users of a room, each with the number of connections. */
export async function hasUsers(hub: RemoteHub, room: string, users: readonly string[]): Promise<void> {
  const expected = users.toSorted().join()
  const end = Date.now() + WAIT_MS
  for (;;) {
    const presence = await hub.call('presence', room)
    if (presence.isComplete && textOf(presence) === expected) return
    if (Date.now() > end) throw new Error(`Waited for ${expected}, saw: ${JSON.stringify(presence)}`)
    await sleep(10)
  }
}

/** Returns what a hub was told of a room. */
export async function usersChanges(hub: RemoteHub, room: string) {
  return (await hub.call('usersChanges')).filter((change) => change.room === room)
}

function textOf({ members }: RoomPresence): string {
  return members
    .map(({ user, connections }) => `${user}:${connections}`)
    .sort()
    .join()
}
