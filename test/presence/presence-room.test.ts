import { afterEach, describe, expect, it, vi } from 'vitest'
import { PresenceRoom } from '../../src/presence/presence-room.ts'
import { finished } from './finished.ts'

const OWN_USERS = 50_000
const NODES = 2_000
/** The most users of other nodes that are kept. */
const MOST = 100_000
/** Visiting each user of the room for each node takes several seconds. */
const MOST_CPU_MS = 500

function snapshot(...users: string[]) {
  const members = users.map((user) => ({ user, connections: 1, stamp: 1, info: '' }))
  return { version: 1, users: users.length, anonymous: 0, isListed: true, members }
}

/** A room on some nodes, whose clock is set by hand. */
class Nodes {
  readonly #rooms = new Map<string, PresenceRoom>()
  #now = 1_800_000_000_000

  constructor(...nodes: string[]) {
    vi.useFakeTimers({ toFake: ['Date'] })
    for (const node of nodes) this.#rooms.set(node, new PresenceRoom('a', 'members', node, 100))
  }

  /** Returns the room on a node; its clock goes on by a millisecond, and by more if told. */
  on(node: string, aheadMs = 0): PresenceRoom {
    vi.setSystemTime(++this.#now + aheadMs)
    return this.#rooms.get(node) ?? expect.fail(node)
  }

  /** Tells what is new on one node to all others. @returns the members that were told */
  tell(node: string, version: number) {
    const delta = this.on(node).takeDelta(version, 10_000) ?? expect.fail(`nothing new on ${node}`)
    for (const [other, room] of this.#rooms)
      if (other !== node) expect(finished(room.applying(node, delta))).toBe(true)
    return delta.members
  }

  get infos() {
    return [...this.#rooms.values()].map((room) =>
      room
        .show(true)
        .members.map(({ info }) => info)
        .join(),
    )
  }
}

function ann(info: string) {
  return { user: 'ann', info: JSON.stringify(info) }
}

describe('PresenceRoom', () => {
  afterEach(() => {
    vi.useRealTimers()
  })

  describe.each([
    ['low', 'high'],
    ['high', 'low'],
  ])('of a user on the node %s, then on %s', (first, second) => {
    it('has the later info although the second node did not know of the first', () => {
      const nodes = new Nodes(first, second, 'third')
      for (const info of ['older', 'old']) nodes.on(first).add(ann(info))
      nodes.on(second).add(ann('new'))
      nodes.tell(first, 1)
      nodes.tell(second, 1)
      expect(nodes.infos).toEqual(['new', 'new', 'new'])
    })

    it('has the later info although the clock of the second node, which knew of the first, is behind', () => {
      const nodes = new Nodes(first, second, 'third')
      nodes.on(first).add(ann('old'))
      nodes.tell(first, 1)
      nodes.on(second, -3_600_000).add(ann('new'))
      nodes.tell(second, 1)
      expect(nodes.infos).toEqual(['new', 'new', 'new'])
    })

    it.each([first, second])('has the info that %s gave again after a third node', (node) => {
      const nodes = new Nodes(first, second, 'middle')
      nodes.on(first).add(ann('same'))
      nodes.tell(first, 1)
      nodes.on('middle').add(ann('other'))
      nodes.on(node).add(ann('same'))
      nodes.tell('middle', 1)
      nodes.tell(node, 2)
      expect(nodes.infos).toEqual(['same', 'same', 'same'])
    })
  })

  it('has the info that is given again by a node that does not know of the other one yet', () => {
    const nodes = new Nodes('low', 'high', 'third')
    nodes.on('low').add(ann('same'))
    nodes.tell('low', 1)
    nodes.on('high').add(ann('other'))
    nodes.on('low').update(ann('same'))
    nodes.tell('high', 1)
    nodes.tell('low', 2)
    expect(nodes.infos).toEqual(['same', 'same', 'same'])
  })

  it('tells an info of a node once, and its time whenever it is given', () => {
    const nodes = new Nodes('here', 'there')
    const tell = (version: number) => nodes.tell('here', version).map(({ info }) => info)
    nodes.on('here').add(ann('same'))
    expect(tell(1)).toEqual(['"same"'])
    nodes.on('here').add(ann('same'))
    expect(tell(2)).toEqual([undefined])
    nodes.on('here').update(ann('same'))
    expect(tell(3)).toEqual([undefined])
    nodes.on('there').add(ann('other'))
    nodes.tell('there', 1)
    nodes.on('here').update(ann('same'))
    expect(tell(4)).toEqual([undefined])
    expect(nodes.infos).toEqual(['same', 'same'])
  })

  it('names its users again at three quarters of the limit', () => {
    const room = new PresenceRoom('a', 'members', 'here', 8)
    const users = ['ann', 'bob', 'cid', 'dan', 'eve', 'fay', 'gus', 'hal', 'ida']
    const complete: boolean[] = []
    const tell = (version: number, far: readonly string[]) => {
      finished(room.replacing('there', { ...snapshot(...far), version }, version))
      const isComplete = room.takeChange(true, 100, 1, [])?.isComplete
      if (isComplete !== undefined) complete.push(isComplete)
      expect(room.show(true).isComplete).toBe(complete.at(-1))
    }
    tell(1, users.slice(0, 8))
    for (let version = 2; version < 8; version++) tell(version, users.slice(0, version % 2 === 0 ? 9 : 8))
    tell(8, users.slice(0, 7))
    expect(new Set(complete.slice(1))).toEqual(new Set([false]))
    tell(9, users.slice(0, 6))
    expect(room.show(true)).toMatchObject({ count: 6, isComplete: true })
    expect(complete.at(-1)).toBe(true)
  })

  it('is not complete while it does not keep all users, and asks for them when there is space', () => {
    const room = new PresenceRoom('a', 'members', 'here', MOST)
    const users = Array.from({ length: MOST }, (_, i) => `user-${i}`)
    finished(room.replacing('one', snapshot(...users), 1))
    expect(room.show(true)).toMatchObject({ count: MOST, isComplete: true })
    finished(room.replacing('two', snapshot('ann', 'bob'), 1))
    const take = () => room.takeChange(true, MOST, 1, [])?.isComplete
    expect([take(), room.show(true).isComplete]).toEqual([false, false])
    expect([room.show(true).count, room.announced('two', 1), room.isBehind('two')]).toEqual([
      MOST + 2,
      false,
      false,
    ])
    const half = users.slice(0, MOST / 2)
    expect(finished(room.replacing('one', { ...snapshot(...half), version: 2 }, 2))).toBe(true)
    take()
    expect([room.announced('two', 1), room.isBehind('two'), room.announced('one', 2)]).toEqual([
      true,
      true,
      false,
    ])
    expect([take(), room.show(true).isComplete]).toEqual([undefined, false])
    expect(finished(room.replacing('two', snapshot('ann', 'bob'), 1))).toBe(true)
    expect([take(), room.show(true).count, room.announced('two', 1)]).toEqual([true, MOST / 2 + 2, false])
  })

  it('forgets a node at the cost of its own users, however many others there are', () => {
    const room = new PresenceRoom('a', 'members', 'here', 100_000)
    for (let i = 0; i < OWN_USERS; i++) room.add({ user: `user-${i}`, info: '' })
    for (let i = 0; i < NODES; i++)
      finished(room.replacing(`node-${i}`, snapshot(`user-${i}`, `far-${i}`), 1))
    const before = process.cpuUsage()
    for (let i = 0; i < NODES; i++) finished(room.forgetting(`node-${i}`))
    const { user, system } = process.cpuUsage(before)
    expect((user + system) / 1_000).toBeLessThan(MOST_CPU_MS)
    const { members } = room.show(true)
    expect([members.length, members.every(({ connections }) => connections === 1)]).toEqual([OWN_USERS, true])
  })
})
