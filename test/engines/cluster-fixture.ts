import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { WAIT_MS } from '../support/in-time.ts'
import { ASIDE, Member } from './member.ts'
import type { RemoteHub } from './remote-hub.ts'

export type Three<T> = readonly [near: T, other: T, far: T]

/** Within this time of an engine's return, everything flows. Users are promised five seconds, of quiet cores. */
export const RETURN_MS = 30_000

const byText = (a: string, b: string) => (a < b ? -1 : 1)

/**
 * A hub that is not open: one of three, the last of which reaches the engine by a cable that can be cut, or a fourth that
 * comes and goes, and may be in the process of the test.
 */
export type Launch = (which: 'near' | 'far' | 'spare') => Promise<RemoteHub>

/** Three hubs of a cluster, and a fourth that comes and goes. */
export class ClusterFixture {
  readonly #launch: Launch
  #hubs: Three<RemoteHub> | undefined
  #spare: RemoteHub | undefined
  #markers = 0

  constructor(launch: Launch) {
    this.#launch = launch
  }

  get hubs(): Three<RemoteHub> {
    if (this.#hubs === undefined) throw new Error('The cluster is not open')
    return this.#hubs
  }

  /** Of the three, those that no test has killed. */
  get living(): readonly RemoteHub[] {
    return this.hubs.filter((hub) => !hub.isDead)
  }

  /** Not open. */
  get spare(): RemoteHub {
    if (this.#spare === undefined) throw new Error('The cluster is not open')
    return this.#spare
  }

  /** The name of a room of which nobody has ever been a member. */
  newRoom(): string {
    return `new-${++this.#markers}`
  }

  async open(): Promise<void> {
    const launch = this.#launch
    const [one, two, far, spare] = await Promise.all([
      launch('near'),
      launch('near'),
      launch('far'),
      launch('spare'),
    ])
    this.#hubs = [one, two, far]
    this.#spare = spare
    await Promise.all(this.hubs.map((hub) => hub.open()))
    await this.acquainted()
  }

  async acquainted(): Promise<void> {
    for (const hub of this.hubs) await hub.until('all nodes', ({ stats }) => stats.nodes === this.hubs.length)
  }

  /** A client of each hub, of whom nobody else is there, and whom everybody reaches. */
  async three(): Promise<Three<Member>> {
    for (const hub of this.hubs) await hub.until('nobody to be there', ({ connections }) => connections === 0)
    const [one, two, far] = this.hubs
    const members = [
      await Member.of(one, 'one'),
      await Member.of(two, 'two'),
      await Member.of(far, 'far'),
    ] as const
    // What is published for everyone comes as soon as the engine has confirmed the subscription, of which nobody is told.
    const end = Date.now() + WAIT_MS
    const hello = (hub: RemoteHub) => `${ASIDE}hello of ${hub.node}`
    while (!members.every((member) => this.hubs.every((hub) => member.has(hello(hub))))) {
      if (Date.now() > end) throw new Error(`Waited ${WAIT_MS} ms for broadcasts to reach everyone`)
      for (const hub of this.hubs) await hub.call('broadcast', hello(hub))
      await sleep(10)
    }
    await this.settled(members)
    return members
  }

  /** Resolves when all that was broadcast to everyone has come. */
  async settled(members: readonly Member[]): Promise<void> {
    const marker = ++this.#markers
    for (const hub of this.hubs) await hub.call('broadcast', `${ASIDE}${marker} of ${hub.node}`)
    for (const member of members)
      for (const hub of this.hubs) await member.hears(`${ASIDE}${marker} of ${hub.node}`)
  }

  /**
   * Shows what each has received, and that there is no more. Messages of several channels come in any order, so where a
   * channel must not bring something, its latest message has to be for all who listen to it.
   */
  async received(members: Three<Member>, expected: Three<readonly string[]>): Promise<void> {
    for (const [index, member] of members.entries()) {
      for (const text of expected[index] ?? []) await member.hears(text)
    }
    await this.settled(members)
    expect(members.map(({ texts }) => texts.toSorted(byText))).toEqual(
      expected.map((texts) => texts.toSorted(byText)),
    )
  }

  /** Puts somebody into rooms; resolves when what is published there comes. */
  async enter({ hub, id }: Member, ...rooms: string[]): Promise<void> {
    expect(await hub.call('join', { id }, rooms)).toMatchObject({ count: 1, missing: [] })
  }
}
