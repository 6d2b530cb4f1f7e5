import { expect, it } from 'vitest'
import { Bus } from '../support/bus.ts'
import { acquainted } from '../support/cluster.ts'
import { eventually, turn } from '../support/hub-server.ts'
import { quiet } from './quiet.ts'
import { presenceNode } from './support.ts'

const IN_ONE_ROOM = 15_000
const OTHER_ROOMS = 20
const IN_OTHERS = 100
/** More than the members that are looked at in a turn, and those of a room that were begun before that. */
const MOST_A_TURN = 12_000

const ROOMS = ['big', ...Array.from({ length: OTHER_ROOMS }, (_, index) => `room-${index}`)]
const TOTAL = IN_ONE_ROOM + OTHER_ROOMS * IN_OTHERS

/** Opens a node with very many users, and one that knows of all of them, with a user in each room. */
async function crowded(leaveGraceMs: number) {
  const bus = new Bus()
  const options = { maxMembersPerRoom: 100_000, leaveGraceMs }
  const crowd = await presenceNode(bus, options, {}, { maxConnections: 100_000 })
  const node = await presenceNode(bus, options)
  await acquainted([crowd, node])
  for (const [index, room] of ROOMS.entries()) {
    node.hub.joinRoom(quiet(node.hub, 'dan'), room)
    const users = index === 0 ? IN_ONE_ROOM : IN_OTHERS
    for (let user = 0; user < users; user++) crowd.hub.joinRoom(quiet(crowd.hub, `${room}-${user}`), room)
  }
  const told = () => node.changes.all.reduce((sum, { joined }) => sum + joined.length, 0)
  await eventually('all users to be told', () => told() === TOTAL + ROOMS.length, told)
  const members = () => ROOMS.flatMap((room) => node.hub.presence(room).members)
  return {
    crowd,
    node,
    members,
    without: () => members().filter((member) => member.connections === 0).length,
  }
}

it('A node that dies with very many users is forgotten bit by bit, and they leave in one change a room', async () => {
  const { crowd, node, members, without } = await crowded(200)
  crowd.backplane.cut() // as if it were dead
  const forgotten = [0]
  await eventually('the node to be forgotten', () => without() > 0, without)
  while (forgotten.at(-1) !== TOTAL) {
    forgotten.push(without())
    await turn()
  }
  const most = Math.max(...forgotten.map((users, index) => users - (forgotten[index - 1] ?? 0)))
  expect(most).toBeLessThan(MOST_A_TURN)
  const known = () => members().length
  await eventually('only those of the other node to be left', () => known() === ROOMS.length, known)
  const leaving = node.changes.all.filter(({ left }) => left.length > 0)
  expect(leaving.map(({ room }) => room).sort()).toEqual([...ROOMS].sort())
  expect(leaving.map(({ room, left }) => [room, left.length])).toContainEqual(['big', IN_ONE_ROOM])
  expect(leaving.map(({ count }) => count)).toEqual(ROOMS.map(() => 1))
})

it('A node that is back while it is being forgotten keeps its users', async () => {
  const { crowd, node, without } = await crowded(60_000)
  crowd.backplane.cut()
  await eventually('the node to be forgotten', () => without() > 0, without)
  crowd.backplane.restore()
  await eventually('its users to be back', () => without() === 0, without)
  expect(node.changes.all.filter(({ left }) => left.length > 0)).toEqual([])
})
