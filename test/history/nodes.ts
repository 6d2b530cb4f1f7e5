import { onTestFinished } from 'vitest'
import { MemoryHistoryBus, memoryHistory } from 'wshub'
import type { HistoryLimits } from '../../src/history/history-store.ts'
import { positionOf } from '../../src/history/position.ts'
import { encodeRecord } from '../../src/history/record.ts'
import { passingUntil } from '../support/held-clock.ts'
import { eventually, turn } from '../support/hub-server.ts'
import { FaultyStore } from './faulty-store.ts'
import { Member, Node, type NodeOptions } from './node.ts'

export const CONTENT = { key: undefined, exceptIds: [], exceptRooms: [] }

const LIMITS = { maxMessages: 1_000, maxAgeMs: 3_600_000 }

/** Stores a message of a process that is not of the test. @returns its position */
export function append(bus: MemoryHistoryBus, data: string, limits: HistoryLimits = LIMITS): string {
  return positionOf(bus.append('room', encodeRecord({ ...CONTENT, data, union: [] }), limits))
}

/** Nodes that share a history, each with a member of the room. */
export async function cluster(count: number, options: NodeOptions = {}) {
  const bus = new MemoryHistoryBus()
  const nodes = Array.from({ length: count }, (_, index) => {
    const store = new FaultyStore(memoryHistory({ bus }))
    const node = new Node(store, options)
    const member = new Member(`member ${index}`)
    node.join(member)
    onTestFinished(() => node.history.close(0))
    return { store, node, member }
  })
  await eventually(
    'the stores to connect',
    () => nodes.every(({ store }) => store.state === 'connected'),
    () => nodes.map(({ store }) => store.state),
  )
  await turn()
  return { bus, nodes }
}

/** A node with a member of the room. */
export async function single(options: NodeOptions = {}) {
  const { bus, nodes } = await cluster(1, options)
  if (nodes[0] === undefined) throw new Error('there is one')
  return { bus, one: nodes[0] }
}

/** Two nodes that share a history, each with a member of the room. */
export async function pair(options: NodeOptions = {}) {
  const { bus, nodes } = await cluster(2, options)
  const [one, two] = nodes
  if (one === undefined || two === undefined) throw new Error('there are two')
  return { bus, one, two }
}

export function untilReceived({ received }: Member, texts: readonly string[]): Promise<void> {
  return passingUntil(
    `the texts ${texts}`,
    () => received.length >= texts.length,
    () => received,
  )
}
