import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { RETURN_MS } from '../engines/cluster-fixture.ts'
import { hasUsers, usersChanges } from '../engines/presence-cases.ts'
import { RemoteHub } from '../engines/remote-hub.ts'
import { type Engine, startRedis } from '../support/servers.ts'

const USERS = Array.from({ length: 1_000 }, (_, index) => `user-${index}`)
const TIMES = { heartbeatIntervalMs: 500, heartbeatTimeoutMs: 3_000, leaveGraceMs: 1_000 }
/** Longer than a busy machine takes to connect a third of the users again. */
const LONG_GRACE_MS = 20_000
const ALL = USERS.map((user) => `${user}:1`)

let engine: Engine
let hubs: RemoteHub[] = []

/** Returns the users, dealt out to so many hubs. */
function dealt(users: readonly string[], count: number): string[][] {
  return Array.from({ length: count }, (_, place) => users.filter((_user, index) => index % count === place))
}

/** Opens three hubs with 1,000 users in a room. */
async function crowded(
  room: string,
  init: Parameters<RemoteHub['open']>[0],
): Promise<Map<RemoteHub, string[]>> {
  await Promise.all(hubs.map((hub) => hub.open({ namespace: room, ...init })))
  const places = new Map<RemoteHub, string[]>()
  for (const [index, users] of dealt(USERS, hubs.length).entries()) {
    const hub = hubs[index]
    if (hub === undefined) continue
    places.set(hub, users)
    await hub.call('crowd', room, users)
  }
  for (const hub of hubs) await hasUsers(hub, room, ALL)
  return places
}

async function emptied(): Promise<void> {
  for (const hub of hubs) {
    await hub.call('endStream')
    await hub.call('close')
    await hub.call('endCrowd')
  }
}

beforeAll(async () => {
  engine = await startRedis()
  hubs = await Promise.all([1, 2, 3].map(() => RemoteHub.fork({ engine: 'redis', port: engine.port })))
})

afterAll(async () => {
  for (const hub of hubs) hub.end()
  await engine?.stop()
})

describe('1,000 users on three processes over Redis', () => {
  it('cause not one change while all three are restarted one after the other, under load', async () => {
    const room = 'presence-rolling'
    const init = { ...TIMES, leaveGraceMs: LONG_GRACE_MS, namespace: room }
    const places = await crowded(room, init)
    const load = async (hub: RemoteHub) => {
      await hub.call('crowd', 'load', [`load-${hub.port}`])
      await hub.call('stream', 'load')
    }
    for (const hub of hubs) await load(hub)
    const left: string[] = []
    const collect = async (hub: RemoteHub) => {
      for (const change of await usersChanges(hub, room)) left.push(...change.left)
    }
    for (const hub of hubs) {
      await collect(hub)
      await hub.call('endStream')
      const others = hubs.filter((other) => other !== hub)
      const moving = dealt(places.get(hub) ?? [], others.length)
      places.set(hub, [])
      // Their handshakes take none of the time that they have to come back.
      await Promise.all(others.map((other, index) => other.call('gather', moving[index] ?? [])))
      const closed = hub.call('close')
      await Promise.all(
        others.map(async (other, index) => {
          const users = moving[index] ?? []
          await other.call('seat', room, users)
          places.set(other, [...(places.get(other) ?? []), ...users])
        }),
      )
      await closed
      await hub.call('endCrowd')
      await hub.open(init)
      await load(hub)
      for (const each of hubs) if (each !== hub) await hasUsers(each, room, ALL)
    }
    for (const hub of hubs) await collect(hub)
    expect(left).toEqual([])
    await emptied()
  })

  it('are true again soon after Redis was killed and started again', async () => {
    const room = 'presence-outage'
    await crowded(room, TIMES)
    await engine.kill()
    for (const hub of hubs) await hub.until('the outage', ({ state }) => state === 'reconnecting')
    await engine.start()
    const start = performance.now()
    for (const hub of hubs) await hasUsers(hub, room, ALL)
    expect(performance.now() - start).toBeLessThan(RETURN_MS)
    for (const hub of hubs) expect((await usersChanges(hub, room)).flatMap(({ left }) => left)).toEqual([])
    await emptied()
  })

  it('are no ghosts once their process was killed and the grace is over', async () => {
    const room = 'presence-killed'
    const places = await crowded(room, TIMES)
    const [doomed, ...others] = hubs
    if (doomed === undefined) throw new Error('three hubs are open')
    doomed.signal('SIGKILL')
    const start = performance.now()
    const users = others.flatMap((hub) => places.get(hub) ?? []).map((user) => `${user}:1`)
    for (const hub of others) await hasUsers(hub, room, users)
    expect(performance.now() - start).toBeLessThan(TIMES.heartbeatTimeoutMs + TIMES.leaveGraceMs + RETURN_MS)
    for (const hub of others) {
      const left = (await usersChanges(hub, room)).filter((change) => change.left.length > 0)
      expect(left.map((change) => change.left.length)).toEqual([places.get(doomed)?.length])
    }
  })
})
