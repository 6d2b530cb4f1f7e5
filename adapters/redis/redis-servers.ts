import { backoffMs, pause } from '../backplane/backoff.ts'
import { type Discover, type RedisServer, type RedisTopology, slotOf } from './redis-topology.ts'

/** The owner of {@link RedisServers}. */
export interface RedisServersOwner<Member> {
  /** Whether the first connection is still awaited: the process must stay alive for it. */
  isStarting(): boolean
  /** Makes the member of a server. */
  open(server: RedisServer): Member
  /** Called when each hash slot has its member. Resolves when the members know what goes through them. */
  assigned(): Promise<void>
  /** Called when `isCurrent` has changed. */
  changed(): void
  /** Receives an error of the search for servers, which is tried again. */
  failed(error: Error): void
}

/** One member for each Redis server, such as its connections, by the hash slots that the server owns. */
export class RedisServers<Member extends { close(timeoutMs?: number): Promise<void> }> {
  readonly #discover: Discover
  readonly #owner: RedisServersOwner<Member>
  readonly #signal: AbortSignal
  #members = new Map<string, Member>()
  /** By slot in a Redis Cluster; otherwise one for all. */
  #slots: readonly (Member | undefined)[] = []
  #isRefreshing = false
  #isRefreshWanted = false

  /** @param signal ends the search for servers */
  constructor(discover: Discover, owner: RedisServersOwner<Member>, signal: AbortSignal) {
    this.#discover = discover
    this.#owner = owner
    this.#signal = signal
  }

  get members(): readonly Member[] {
    return [...this.#members.values()]
  }

  /** Whether the servers are known, as far as anybody has noticed. */
  get isCurrent(): boolean {
    return !this.#isRefreshing && this.#members.size > 0
  }

  /** Returns the member of the server that owns the slot of a name. */
  of(name: string): Member | undefined {
    return this.#slots.length === 1 ? this.#slots[0] : this.#slots[slotOf(name)]
  }

  /** Looks for the servers, at first and when a slot has moved. */
  refresh(): void {
    this.#isRefreshWanted = true
    if (!this.#isRefreshing) void this.#refresh()
  }

  /** Closes the members. To be called once `signal` is aborted. */
  async close(timeoutMs?: number): Promise<void> {
    await Promise.all(this.members.map((member) => member.close(timeoutMs)))
  }

  /** Repeats the search until no member reports a slot that has moved meanwhile. */
  async #refresh(): Promise<void> {
    this.#isRefreshing = true
    this.#owner.changed()
    for (let failures = 0; this.#isRefreshWanted && !this.#signal.aborted; failures++) {
      this.#isRefreshWanted = false
      if (failures > 0) await pause(backoffMs(failures), this.#signal, this.#owner.isStarting())
      try {
        const topology = await this.#discover((error) => this.#owner.failed(error), this.#signal)
        if (this.#signal.aborted) return
        this.#assign(topology)
        await this.#owner.assigned()
      } catch (error) {
        this.#isRefreshWanted = true
        this.#owner.failed(error as Error) // of node-redis
      }
    }
    this.#isRefreshing = false
    this.#owner.changed()
  }

  #assign({ servers, slots }: RedisTopology): void {
    const members = new Map<string, Member>()
    for (const server of servers) {
      members.set(server.address, this.#members.get(server.address) ?? this.#owner.open(server))
    }
    for (const [address, member] of this.#members) if (!members.has(address)) void member.close()
    this.#members = members
    this.#slots = slots.map((server) => server && members.get(server.address))
  }
}
