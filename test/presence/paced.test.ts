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

it('A node that dies with very many users is forgotten bit by bit, and they leave in one change a room', async () => {
  const bus = new Bus()
  const options = { maxMembersPerRoom: 100_000, leaveGraceMs: 200 }
  const x = await presenceNode(bus, options, {}, { maxConnections: 100_000 })
  const y = await presenceNode(bus, options)
  await acquainted([x, y])
  const rooms = ['big', ...Array.from({ length: OTHER_ROOMS }, (_, index) => `room-${index}`)]
  for (const [index, room] of rooms.entries()) {
    y.hub.joinRoom(quiet(y.hub, 'dan'), room)
    const users = index === 0 ? IN_ONE_ROOM : IN_OTHERS
    for (let user = 0; user < users; user++) x.hub.joinRoom(quiet(x.hub, `${room}-${user}`), room)
  }
  const total = IN_ONE_ROOM + OTHER_ROOMS * IN_OTHERS
  const here = () => rooms.map((room) => y.hub.presence(room).count)
  const known = () => here().reduce((sum, count) => sum + count, 0)
  await eventually('all users to be known', () => known() === total + rooms.length, known)
  await eventually(
    'all to be told',
    () => y.changes.all.reduce((sum, { joined }) => sum + joined.length, 0) === total + rooms.length,
    () => y.changes.all.length,
  )

  x.backplane.cut() // as if it were dead
  const without = () => {
    let users = 0
    for (const room of rooms) {
      for (const { connections } of y.hub.presence(room).members) if (connections === 0) users++
    }
    return users
  }
  const forgotten = [0]
  await eventually('the node to be forgotten', () => without() > 0, without)
  while (forgotten.at(-1) !== total) {
    forgotten.push(without())
    await turn()
  }
  const most = Math.max(...forgotten.map((users, index) => users - (forgotten[index - 1] ?? 0)))
  expect(most).toBeLessThan(MOST_A_TURN)

  await eventually('only those of the other node to be left', () => known() === rooms.length, known)
  const leaving = y.changes.all.filter(({ left }) => left.length > 0)
  expect(leaving.map(({ room }) => room).sort()).toEqual([...rooms].sort())
  expect(leaving.map(({ room, left }) => [room, left.length])).toContainEqual(['big', IN_ONE_ROOM])
  expect(leaving.map(({ count }) => count)).toEqual(rooms.map(() => 1))
})
