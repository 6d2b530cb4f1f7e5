import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { WAIT_MS } from '../support/in-time.ts'
import { ASIDE, Member } from './member.ts'
import type { RemoteHub } from './remote-hub.ts'

export type Three<T> = readonly [near: T, other: T, far: T]

/**
 * Everything flows again this long after an outage, on busy cores. Users are promised five seconds on idle
 * ones: test/backplanes/recovery.test.ts checks the delays that backplanes schedule.
 */
export const RETURN_MS = 30_000

const byText = (a: string, b: string) => (a < b ? -1 : 1)

/**
 * Launches a hub that is not open yet: a near one; the far one, whose connection to the engine a test can
 * cut; or the spare one, which tests open and close, and which may be in the process of the test.
 */
export type Launch = (which: 'near' | 'far' | 'spare') => Promise<RemoteHub>

/** A cluster of three hubs, and a spare one that tests open and close. */
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

  /** The hubs of the three that no test has killed. */
  get living(): readonly RemoteHub[] {
    return this.hubs.filter((hub) => !hub.isDead)
  }

  /** The fourth hub, not open. */
  get spare(): RemoteHub {
    if (this.#spare === undefined) throw new Error('The cluster is not open')
    return this.#spare
  }

  /** Returns the name of a room that has never had a member. */
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

  /** Ends the processes of the three: they would look for their engine for as long as other tests run. */
  end(): void {
    for (const hub of this.#hubs ?? []) hub.end()
  }

  async acquainted(): Promise<void> {
    for (const hub of this.hubs) await hub.until('all nodes', ({ stats }) => stats.nodes === this.hubs.length)
  }

  /** Connects one client to each hub; resolves when broadcasts of all hubs reach them. */
  async three(): Promise<Three<Member>> {
    for (const hub of this.hubs) await hub.until('nobody to be there', ({ connections }) => connections === 0)
    const [one, two, far] = this.hubs
    const members = [
      await Member.of(one, 'one'),
      await Member.of(two, 'two'),
      await Member.of(far, 'far'),
    ] as const
    // Broadcasts arrive once the engine has confirmed a subscription, which is not observable.
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

  /** Resolves when all earlier broadcasts to everyone have arrived. */
  async settled(members: readonly Member[]): Promise<void> {
    const marker = ++this.#markers
    for (const hub of this.hubs) await hub.call('broadcast', `${ASIDE}${marker} of ${hub.node}`)
    for (const member of members)
      for (const hub of this.hubs) await member.hears(`${ASIDE}${marker} of ${hub.node}`)
  }

  /**
   * Checks what each member has received, and that nothing else arrives. Messages of several channels arrive
   * in any order, so the last message on a channel that must not carry something has to be for all of its
   * subscribers.
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

  /** Puts a member into rooms; resolves when messages published there arrive. */
  async enter({ hub, id }: Member, ...rooms: string[]): Promise<void> {
    expect(await hub.call('join', { id }, rooms)).toMatchObject({ count: 1, missing: [] })
  }
}
