import { afterEach, expect, it, vi } from 'vitest'
import { openEnvelope } from '../../src/cluster/wire/envelope.ts'
import { Questions } from '../../src/presence/questions.ts'
import { Bus } from '../support/bus.ts'
import { eventually, turn } from '../support/hub-server.ts'
import { quiet } from './quiet.ts'
import { type PresenceNode, presenceOf, toldIn, two } from './support.ts'

const MANY_ROOMS = 8_000
/** More than the rooms that are visited in a turn. */
const MOST_A_TURN = 7_000
/** More than the rooms that all nodes are asked about in a turn, and those of a question to one of them. */
const MOST_ASKED_A_TURN = 4_000

const rooms = Array.from({ length: MANY_ROOMS }, (_, index) => `room-${index}`)

/** Opens two nodes with very many rooms, each with a user on either. */
async function crowded() {
  const bus = new Bus()
  const hubOptions = { limits: { maxRoomsPerConnection: MANY_ROOMS } }
  const [x, y] = await two(bus, {}, { callTimeoutMs: 20_000 }, hubOptions)
  x.hub.joinRoom(quiet(x.hub, 'ann'), rooms)
  y.hub.joinRoom(quiet(y.hub, 'bob'), rooms)
  const complete = (hub = x.hub) => {
    return rooms.filter((room) => {
      const { count, isComplete } = hub.presence(room)
      return count === 2 && isComplete
    }).length
  }
  await eventually('both to know all users', () => complete() === MANY_ROOMS, complete)
  return { bus, x, y, complete }
}

/** Returns the most of something that happens in a turn, until it is done. */
async function mostATurn(count: () => number, isDone: () => boolean): Promise<number> {
  let most = 0
  for (let before = count(); !isDone(); ) {
    await turn()
    const now = count()
    most = Math.max(most, now - before)
    before = now
  }
  return most
}

afterEach(() => {
  vi.restoreAllMocks()
})

/** Returns a count of the rooms that a node asks about from now on. */
function askedBy({ backplane }: PresenceNode, bus: Bus): () => number {
  let seen = bus.published.length
  let total = 0
  return () => {
    const messages = toldIn(bus.published.slice(seen).filter(({ by }) => by === backplane))
    seen = bus.published.length
    total += messages.reduce((sum, message) => sum + (message.op === 'ask' ? message.rooms.length : 0), 0)
    return total
  }
}

it('A node that is back asks about its rooms bit by bit', async () => {
  const { bus, x, complete } = await crowded()
  x.backplane.cut()
  x.backplane.restore()
  const count = askedBy(x, bus)
  const most = await mostATurn(count, () => count() >= MANY_ROOMS)
  expect(most).toBeLessThan(MOST_ASKED_A_TURN)
  await eventually('all rooms to be complete again', () => complete() === MANY_ROOMS, complete)
})

it('A node that is back later than another is asked about its rooms bit by bit', async () => {
  const { bus, x, y, complete } = await crowded()
  for (const { backplane } of [x, y]) backplane.cut()
  const asked = askedBy(x, bus)
  x.backplane.restore()
  await eventually('the first to have asked', () => asked() >= MANY_ROOMS, asked)
  y.backplane.restore()
  const count = askedBy(x, bus)
  const most = await mostATurn(count, () => count() >= MANY_ROOMS)
  expect(most).toBeLessThan(MOST_ASKED_A_TURN)
  await eventually('all rooms to be complete again', () => complete() === MANY_ROOMS, complete)
})

it.each<[string, (from: PresenceNode, to: PresenceNode) => Promise<void>]>([
  [
    'whose digest was lost',
    async (_from, { backplane }) => {
      backplane.drop = (_channel, bytes) => presenceOf(bytes)?.op === 'digest'
    },
  ],
  [
    'that was taken for dead',
    async ({ hub: { cluster } }, { hub, backplane }) => {
      backplane.delay = (_channel, bytes) => openEnvelope(Buffer.from(bytes)).stamp.node === cluster.node
      const left = () => rooms.filter((room) => hub.presence(room).count === 1).length
      await eventually('its users to have left', () => left() === MANY_ROOMS, left)
      backplane.release()
    },
  ],
])('A node %s is asked about its rooms bit by bit', async (_name, trouble) => {
  const { x, y, complete } = await crowded()
  await trouble(x, y)
  const repair = vi.spyOn(Questions.prototype, 'repair')
  const count = () => repair.mock.calls.filter(([, , isForced]) => isForced).length // not those of digests
  expect(await mostATurn(count, () => count() >= MANY_ROOMS)).toBeLessThan(MOST_A_TURN)
  y.backplane.drop = () => false
  await eventually(
    'all rooms to be complete',
    () => complete(y.hub) === MANY_ROOMS,
    () => complete(y.hub),
  )
})
