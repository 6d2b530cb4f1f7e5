import { Client } from '../support/hub-server.ts'
import type { RemoteHub } from './remote-hub.ts'

/** The prefix of messages that only the tests themselves need. */
export const ASIDE = 'aside '

/** Node and room; number. */
const NUMBERED = /^([\w-]+ [\w-]+) (\d+) x*$/

/** A WebSocket client of a hub, and what it has received. */
export class Member {
  readonly hub: RemoteHub
  readonly id: string
  readonly #client: Client
  /** How many received messages are in `#numbers`. */
  #scanned = 0
  /** The numbers of the numbered messages, by publishing node and room. */
  readonly #numbers = new Map<string, number[]>()

  private constructor(hub: RemoteHub, client: Client, id: string) {
    this.hub = hub
    this.#client = client
    this.id = id
  }

  static async of(hub: RemoteHub, name: string): Promise<Member> {
    const client = await Client.open(`ws://127.0.0.1:${hub.port}/${name}`)
    const id = await client.received.first('its id', () => true)
    return new Member(hub, client, id)
  }

  /** The messages it has received, without its id and those with the prefix. */
  get texts(): string[] {
    return this.#client.received.all.slice(1).filter((text) => !text.startsWith(ASIDE))
  }

  /** The numbers of the messages that a hub has published into a room by `publish` or `stream`. */
  numbers({ node }: RemoteHub, room: string): readonly number[] {
    const { all } = this.#client.received
    for (; this.#scanned < all.length; this.#scanned++) {
      const [, source, number] = NUMBERED.exec(all[this.#scanned] ?? '') ?? []
      if (source === undefined) continue
      const numbers = this.#numbers.get(source)
      if (numbers === undefined) this.#numbers.set(source, [Number(number)])
      else numbers.push(Number(number))
    }
    return this.#numbers.get(`${node} ${room}`) ?? []
  }

  /** Resolves when the latest number of that hub and that room is at least this one. */
  async reached(hub: RemoteHub, room: string, number: number): Promise<void> {
    await this.until(`${number} of ${hub.node}`, () => (this.numbers(hub, room).at(-1) ?? -1) >= number)
  }

  has(text: string): boolean {
    return this.#client.received.all.includes(text)
  }

  async hears(text: string): Promise<void> {
    await this.until(text, () => this.has(text))
  }

  async until(what: string, holds: () => boolean): Promise<void> {
    await this.#client.received.until(what, holds)
  }

  /** Resolves with the code and reason of its close. */
  closed(): Promise<string> {
    return this.#client.closed()
  }
}
