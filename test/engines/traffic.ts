import { expect } from 'vitest'
import { RETURN_MS, type Three } from './cluster-fixture.ts'
import type { Member } from './member.ts'
import type { RemoteHub } from './remote-hub.ts'

/** The fate of the messages of one hub at one client. */
export interface Account {
  readonly from: RemoteHub
  readonly to: RemoteHub
  readonly published: number
  readonly received: number
  /** How many `onGap` has reported. */
  readonly lost: number
}

/**
 * Numbered messages into a room that has a client of each hub. Once a hub has received a message of another
 * hub in the room, it knows the exact number of later messages that it does not get, however they are lost.
 * (A message lost before the first one cannot be told from one published before the subscription.)
 */
export class Traffic {
  readonly members: Three<Member>
  readonly room: string

  constructor(members: Three<Member>, room: string) {
    this.members = members
    this.room = room
  }

  /** Starts a stream on each hub; resolves when every client receives all of them. */
  async start(): Promise<void> {
    for (const { hub } of this.members) await hub.call('stream', this.room)
    await this.flows()
  }

  /** Resolves when every client has received messages that every hub published after this call. */
  async flows(): Promise<void> {
    for (const { hub } of this.members) {
      const next = await hub.call('published', this.room)
      await Promise.all(this.members.map((member) => member.reached(hub, this.room, next)))
    }
  }

  /** Resolves when each client has received so many more messages of its own hub. */
  async flowsLocally(count: number): Promise<void> {
    await Promise.all(
      this.members.map((member) => {
        const latest = member.numbers(member.hub, this.room).at(-1) ?? 0
        return member.reached(member.hub, this.room, latest + count)
      }),
    )
  }

  /** Checks that all hubs are connected and everything flows within `RETURN_MS`. */
  async returns(): Promise<void> {
    const from = performance.now()
    await Promise.all(this.members.map(({ hub }) => hub.call('ready')))
    await this.flows()
    expect(performance.now() - from).toBeLessThan(RETURN_MS)
  }

  /**
   * Ends the streams. Checks that no message arrived twice or out of order, and that every lost one was
   * reported.
   */
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
