import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  type HistoryLimits,
  MemoryHistoryBus,
  memoryHistory,
  type ReadRequest,
  type ReadResult,
  type ResumeResult,
  type StoredRecord,
} from 'wshub'
import { positionOf } from '../../src/history/position.ts'
import { turn } from '../support/hub-server.ts'
import { FaultyStore } from './faulty-store.ts'
import { BEHIND, Member, Node } from './node.ts'

const NODES = 2
const CLIENTS = 3

type Step =
  | { readonly do: 'publish'; readonly node: number }
  | { readonly do: 'turns'; readonly count: number }
  | { readonly do: 'loseFeed'; readonly node: number; readonly count: number }
  | { readonly do: 'holdFeed' | 'releaseFeed' | 'holdReplies' | 'releaseReplies'; readonly node: number }
  | { readonly do: 'failReads'; readonly node: number }
  | { readonly do: 'cut'; readonly lose: number }
  | { readonly do: 'restore' }
  | { readonly do: 'evict' }
  | { readonly do: 'resume'; readonly client: number; readonly node: number; readonly last: number }
  | { readonly do: 'leave' | 'stall' | 'drain'; readonly client: number }
  | { readonly do: 'resync'; readonly client: number; readonly back: number }

const node = fc.nat(NODES - 1)
const client = fc.nat(CLIENTS - 1)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant('publish' as const), node }) },
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('turns' as const), count: fc.integer({ min: 1, max: 4 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('loseFeed' as const),
      node,
      count: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constantFrom('holdFeed' as const, 'releaseFeed' as const), node }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constantFrom('holdReplies' as const, 'releaseReplies' as const), node }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('failReads' as const), node }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('cut' as const), lose: fc.nat(2) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('restore' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('evict' as const) }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('resume' as const), client, node, last: fc.nat(3) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom('leave' as const, 'stall' as const, 'drain' as const),
      client,
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('resync' as const), client, back: fc.nat(3) }) },
)

const ROOM = 'room'
const END = 'end'
/** Turns in which everything has to settle once all faults are over; timers run 100 ms in each. */
const MAX_TURNS = 500
const TURNS_PER_END = 50
const SETTLED_TURNS = 4

/** A bus that remembers what each message came after: the truth that the clients are compared with. */
class LedgerBus extends MemoryHistoryBus {
  /** By position. */
  readonly before = new Map<string, string>()
  #epoch = ''

  override append(room: string, record: Uint8Array, limits: HistoryLimits): StoredRecord {
    const head = this.head(room)
    const stored = super.append(room, record, limits)
    const before = head?.epoch === stored.epoch ? head : { epoch: stored.epoch, offset: 0, tag: '0' }
    this.before.set(positionOf(stored), positionOf(before))
    this.#epoch = stored.epoch
    return stored
  }

  /** Notes as well that the messages of a room have begun another epoch: a read has found a loss. */
  override read(room: string, request: ReadRequest, limits: HistoryLimits): ReadResult {
    const result = super.read(room, request, limits)
    const { epoch } = result.head
    const former = this.#epoch
    this.#epoch = epoch
    if (former === epoch) return result
    for (const [position, before] of [...this.before]) {
      const moved = position.replace(former, epoch)
      if (!this.before.has(moved)) this.before.set(moved, before.replace(former, epoch))
    }
    return result
  }
}

/** One connection of a client, from its return until it leaves. */
interface Stay {
  readonly member: Member
  readonly node: Node
  readonly since: string | undefined
  result: ResumeResult | 'rejected' | undefined
  hasLeft: boolean
}

/** The position in a text that was stamped. */
function at(text: string): string {
  return text.slice(text.indexOf('@') + 1)
}

class World {
  readonly bus = new LedgerBus()
  readonly stores = Array.from({ length: NODES }, () => new FaultyStore(memoryHistory({ bus: this.bus })))
  readonly nodes: readonly Node[]
  readonly stays: Stay[] = []
  readonly #current: (Stay | undefined)[] = []
  readonly #since: (string | undefined)[] = []
  #published = 0

  constructor(maxMessages: number, maxCachedBytes: number) {
    this.nodes = this.stores.map(
      (store) =>
        new Node(store, {
          limits: { maxMessages },
          maxCachedBytes,
          stamp: (data, { position }) => `${data}@${position}`,
        }),
    )
  }

  async do(step: Step): Promise<void> {
    switch (step.do) {
      case 'publish':
        this.nodes[step.node]?.publish(`${++this.#published}`)
        return
      case 'turns':
        for (let count = 0; count < step.count; count++) await turn()
        return
      case 'loseFeed':
        return this.#fault(step.node, (store) => {
          store.feedToLose += step.count
        })
      case 'holdFeed':
      case 'releaseFeed':
      case 'holdReplies':
      case 'releaseReplies':
        return this.#fault(step.node, (store) => store[step.do]())
      case 'failReads':
        return this.#fault(step.node, (store) => {
          store.readsToFail++
        })
      case 'cut':
        await turn() // what was answered before has arrived
        this.bus.cut()
        if (step.lose > 0) this.bus.loseLatest(ROOM, step.lose)
        return
      case 'restore':
        return this.bus.restore()
      case 'evict':
        return this.bus.evict(ROOM)
      case 'resume':
        return this.#resume(step.client, step.node, step.last)
      case 'leave':
        return this.#leave(step.client)
      case 'stall': {
        const member = this.#current[step.client]?.member
        if (member !== undefined) member.isStalled = true
        return
      }
      case 'drain':
        return this.#current[step.client]?.member.drain()
      case 'resync':
        return this.#resync(step.client, step.back + 1)
    }
  }

  /** Ends all faults, publishes a last message, and waits until all that are in the room have it. */
  async settle(): Promise<void> {
    this.bus.restore()
    for (const store of this.stores) {
      store.feedToLose = 0
      store.readsToFail = 0
      store.releaseFeed()
      store.releaseReplies()
    }
    for (const stay of this.#current) stay?.member.drain()
    let settledTurns = 0 // a replay may end a turn after its last message
    for (let turns = 0; turns < MAX_TURNS && settledTurns < SETTLED_TURNS; turns++) {
      // Again, for a client that has learnt that it missed the first one.
      if (turns % TURNS_PER_END === 0) this.nodes[0]?.publish(END)
      await this.#turn()
      settledTurns = this.#isSettled ? settledTurns + 1 : 0
    }
  }

  /** Everything that is wrong with what the clients received. */
  faults(): string[] {
    return this.stays.flatMap((stay) => this.#check(stay).map((fault) => `${fault}: ${stay.member.received}`))
  }

  async close(): Promise<void> {
    for (const client of this.#current.keys()) this.#leave(client)
    const closed = Promise.all(this.nodes.map(({ history }) => history.close(0)))
    await this.#turn()
    await closed
  }

  #fault(node: number, fault: (store: FaultyStore) => void): void {
    const store = this.stores[node]
    if (store !== undefined) fault(store)
  }

  #resume(client: number, index: number, last: number): void {
    this.#leave(client)
    const node = this.nodes[index]
    if (node === undefined) return
    const member = new Member(`client ${client}`)
    const since = this.#since[client]
    const stay: Stay = { member, node, since, result: undefined, hasLeft: false }
    this.#current[client] = stay
    this.stays.push(stay)
    node.join(member)
    node.history.resume(member, ROOM, { since, ...(last > 0 && { last }) }).then(
      (result) => {
        stay.result = result
      },
      () => {
        stay.result = 'rejected'
      },
    )
  }

  #leave(client: number): void {
    const stay = this.#current[client]
    if (stay === undefined) return
    this.#current[client] = undefined
    stay.hasLeft = true
    stay.node.leave(stay.member)
    const { result } = stay
    const last = stay.member.received.at(-1)
    if (last !== undefined) this.#since[client] = last === BEHIND ? undefined : at(last)
    else if (typeof result === 'object' && result.position !== '') this.#since[client] = result.position
  }

  /** Drops the latest messages of a client, as its outbox would. */
  #resync(client: number, count: number): void {
    const stay = this.#current[client]
    if (stay === undefined) return
    const { received, origins } = stay.member
    const most = received.length - 1 - received.lastIndexOf(BEHIND)
    const dropped = Math.min(count, most)
    if (dropped === 0) return
    received.splice(-dropped)
    const [first] = origins.splice(-dropped)
    if (first !== undefined) stay.node.history.resync(stay.member, [first])
  }

  get #isSettled(): boolean {
    return this.#current.every((stay) => stay === undefined || stay.member.received.at(-1)?.startsWith(END))
  }

  async #turn(): Promise<void> {
    vi.advanceTimersByTime(100)
    await turn()
  }

  #check({ member: { received }, since, result, hasLeft }: Stay): string[] {
    const faults: string[] = []
    if (!hasLeft && result === undefined) faults.push('it never became live')
    if (!hasLeft && !received.at(-1)?.startsWith(END)) faults.push('the last message is missing')
    const isComplete = typeof result === 'object' && result.complete
    /** Where a replay ended that turned out not to be complete. */
    let breaks = typeof result === 'object' && !result.complete && result.replayed > 0 ? 1 : 0
    let previous = isComplete ? since : undefined
    for (const text of received) {
      if (text === BEHIND) {
        previous = undefined
        continue
      }
      const position = at(text)
      // A position may have no tag.
      const follows = previous === undefined || `${this.bus.before.get(position)}.`.startsWith(`${previous}.`)
      if (!follows && breaks-- === 0) {
        faults.push(`${text} does not come after ${previous}`)
      }
      previous = position
    }
    return faults
  }
}

describe('the histories of a cluster', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] })
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('give each client every message in order and once, or say that some are lost', async () => {
    const property = fc.asyncProperty(
      fc.array(step, { minLength: 5, maxLength: 60 }),
      fc.constantFrom(2, 5, 1_000),
      fc.constantFrom(0, 1_500, 1_000_000),
      async (steps, maxMessages, maxCachedBytes) => {
        const world = new World(maxMessages, maxCachedBytes)
        try {
          for (const each of steps) await world.do(each)
          await world.settle()
          expect(world.faults()).toEqual([])
        } finally {
          await world.close()
        }
      },
    )
    await fc.assert(property, {
      numRuns: Number(process.env.WSHUB_RUNS ?? 500),
      examples: JSON.parse(process.env.EX ?? '[]'),
    })
  })
})
