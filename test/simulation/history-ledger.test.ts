import { expect, it } from 'vitest'
import { readPosition } from '../../src/history/position.ts'
import { encodeRecord } from '../../src/history/record.ts'
import { HistoryEngine } from './history-engine.ts'
import { HistoryLedger, type Stay } from './history-ledger.ts'
import { Random } from './random.ts'
import type { Session } from './records.ts'
import { VirtualClock } from './virtual-clock.ts'

const ROOM = 'h0'
const LIMITS = { maxMessages: 1_000, maxAgeMs: 3_600_000 }
const LAST = 5

/** The ledger of a room with six messages, and a client that comes back with a position. */
class Scene {
  readonly failures: string[] = []
  readonly positions: string[] = []
  readonly #engine: HistoryEngine
  readonly #ledger: HistoryLedger

  constructor() {
    const random = new Random(1)
    this.#engine = new HistoryEngine(new VirtualClock(random), random, () => {}, true)
    const fail = (rule: string, what: string) => this.failures.push(`${rule}: ${what}`)
    this.#ledger = new HistoryLedger({ trace: () => {}, fail, isAlive: () => true }, this.#engine, 1_000)
    for (let i = 0; i < 6; i++) {
      const id = this.#ledger.publish('n0', ROOM)
      const content = {
        data: `${id} .`,
        key: undefined,
        urgent: false,
        exceptIds: [],
        exceptRooms: [],
        union: [],
      }
      this.#engine.bus.append(ROOM, encodeRecord(content), LIMITS)
      this.positions.push(this.#engine.headOf(ROOM) ?? '')
    }
  }

  comeBack(since: string | undefined): Stay {
    const session: Session = {
      name: 'c0',
      node: 'n0',
      id: 'id',
      isOpen: true,
      received: new Set(),
      memberships: [],
      drops: 0,
      latest: new Map(),
    }
    const stay = this.#ledger.begin(session, { room: ROOM, since, last: LAST })
    this.#ledger.told(0, 'c0', `begin ${stay.token}`)
    return stay
  }

  /** The client receives the messages from the one with this index on. */
  receiveFrom(index: number): void {
    for (const [at, position] of this.positions.entries()) {
      if (at >= index) this.#ledger.received(0, 'c0', `h${at + 1}`, position)
    }
  }

  /** The store begins another epoch, because a node has had a message that it has not. */
  beginEpoch(): void {
    const head = readPosition(this.positions.at(-1)) ?? expect.fail('the room has a message')
    const after = { ...head, tag: 'lost' }
    this.#engine.bus.read(ROOM, { after, wasDelivered: true, maxMessages: 0, maxBytes: 0 }, LIMITS)
  }

  tellBehind(): void {
    this.#ledger.fellBehind('c0', ROOM)
    this.#ledger.told(0, 'c0', `behind ${ROOM}`)
  }

  /** The call ends, and the ledger checks what the client has received. */
  end(stay: Stay, complete: boolean, replayed: number): void {
    const position = this.#engine.headOf(ROOM) ?? ''
    this.#ledger.began(stay, { complete, replayed, position })
    this.#ledger.check()
  }
}

it('lets a client receive what follows its position before the rest is lost', () => {
  const scene = new Scene()
  const stay = scene.comeBack(scene.positions[3])
  scene.receiveFrom(4)
  scene.beginEpoch()
  scene.tellBehind()
  scene.end(stay, false, 2)
  expect(scene.failures).toEqual([])
})

it('finds a gap between the position of a client and its first message', () => {
  const scene = new Scene()
  const stay = scene.comeBack(scene.positions[2])
  scene.receiveFrom(4)
  scene.beginEpoch()
  scene.tellBehind()
  scene.end(stay, false, 2)
  expect(scene.failures).toEqual([expect.stringContaining('gap: ')])
})

it.each([
  ['a newcomer', undefined],
  ['a client whose position is lost', 'earlier.3.0'],
])('finds that %s receives too few of the latest messages', (_, since) => {
  const failuresFrom = (index: number): string[] => {
    const scene = new Scene()
    const stay = scene.comeBack(since)
    if (since !== undefined) scene.tellBehind()
    scene.receiveFrom(index)
    scene.end(stay, since === undefined, 6 - index)
    return scene.failures
  }
  expect(failuresFrom(6 - LAST)).toEqual([])
  expect(failuresFrom(6 - LAST + 1)).toEqual([`replay: c0 begins with message 2 of ${ROOM}, not 1`])
})
