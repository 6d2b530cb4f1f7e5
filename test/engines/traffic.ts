import { expect } from 'vitest'
import { RETURN_MS, type Three } from './cluster-fixture.ts'
import type { Member } from './member.ts'
import type { RemoteHub } from './remote-hub.ts'

/** What became of the messages of one hub at one client. */
export interface Account {
  readonly from: RemoteHub
  readonly to: RemoteHub
  readonly published: number
  readonly received: number
  /** What `onGap` has reported. */
  readonly lost: number
}

/**
 * Numbered messages into a room in which there is a client of each hub, and what can be said of them: a hub that has heard
 * another in a room knows, to the last message, how many of what the other publishes there it does not get, however they are
 * lost. (What was lost before it has heard the first, nobody can tell from what was published before it listened.)
 */
export class Traffic {
  readonly members: Three<Member>
  readonly room: string

  constructor(members: Three<Member>, room: string) {
    this.members = members
    this.room = room
  }

  /** Has all hubs publish all the time; resolves when all hear all. */
  async start(): Promise<void> {
    for (const { hub } of this.members) await hub.call('stream', this.room)
    await this.flows()
  }

  /** Resolves when everyone has heard, of everyone, what was published after this was called. */
  async flows(): Promise<void> {
    for (const { hub } of this.members) {
      const next = await hub.call('published', this.room)
      await Promise.all(this.members.map((member) => member.reached(hub, this.room, next)))
    }
  }

  /** Resolves when each has heard so many more of its own hub. */
  async flowsLocally(count: number): Promise<void> {
    await Promise.all(
      this.members.map((member) => {
        const latest = member.numbers(member.hub, this.room).at(-1) ?? 0
        return member.reached(member.hub, this.room, latest + count)
      }),
    )
  }

  /** Shows that all are connected, and everything flows, within `RETURN_MS` of now. */
  async returns(): Promise<void> {
    const from = performance.now()
    await Promise.all(this.members.map(({ hub }) => hub.call('ready')))
    await this.flows()
    expect(performance.now() - from).toBeLessThan(RETURN_MS)
  }

  /** Ends it. Shows that nothing has come twice or out of order, and that what was lost was reported, to the last message. */
  async end(): Promise<readonly Account[]> {
    for (const { hub } of this.members) await hub.call('endStream')
    const accounts: Account[] = []
    for (const { hub: from } of this.members) {
      const published = await from.call('published', this.room)
      for (const member of this.members) {
        await member.reached(from, this.room, published - 1)
        const numbers = member.numbers(from, this.room)
        expect(numbers).toEqual([...new Set(numbers)].toSorted((a, b) => a - b))
        const { gaps } = await member.hub.call('seen')
        const lost = gaps
          .filter(({ node, room }) => node === from.node && room === this.room)
          .reduce((sum, { count }) => sum + count, 0)
        accounts.push({ from, to: member.hub, published, received: numbers.length, lost })
      }
    }
    for (const { from, to, published, received, lost } of accounts) {
      expect({ from: from.node, to: to.node, sum: received + lost }).toEqual({
        from: from.node,
        to: to.node,
        sum: published,
      })
      if (from === to) expect(lost).toBe(0)
    }
    return accounts
  }
}
