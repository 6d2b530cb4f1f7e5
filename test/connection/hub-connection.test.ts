import { readFileSync } from 'node:fs'
import { inspect } from 'node:util'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import { serve, thrownBy, turn } from '../support/hub-server.ts'

/** The methods of a connection, which tests may replace. */
const METHODS = [
  'sendText',
  'sendBinary',
  'sendPing',
  'sendPong',
  'pause',
  'resume',
  'renew',
  'close',
  'terminate',
  'inRoom',
  'setMetadata',
  'getMetadata',
  'toJSON',
]

/** The names of the members of the interface `Connection`, as its source spells them. */
function documentedMembers(): string[] {
  const url = new URL('../../src/connection/connection.ts', import.meta.url)
  const source = ts.createSourceFile('connection.ts', readFileSync(url, 'utf8'), ts.ScriptTarget.Latest)
  const found = source.statements.find(
    (statement) => ts.isInterfaceDeclaration(statement) && statement.name.text === 'Connection',
  )
  if (found === undefined || !ts.isInterfaceDeclaration(found)) throw new Error('there is no such interface')
  return found.members.map((member) => member.name?.getText(source) ?? '')
}

/** The names and symbols that JavaScript finds on an object, without those of every object. */
function membersOf(object: object): string[] {
  const keys = new Set<string | symbol>()
  for (let owner = object; owner !== Object.prototype; owner = Object.getPrototypeOf(owner)) {
    for (const key of Reflect.ownKeys(owner)) keys.add(key)
  }
  keys.delete('constructor')
  keys.delete(inspect.custom) // for the console alone
  return [...keys].map((key) => (typeof key === 'symbol' ? `[${key.description}]` : key))
}

describe('A connection', () => {
  it('has only the members of the interface Connection in JavaScript', async () => {
    const { connect } = await serve()
    const { connection } = await connect()
    expect(documentedMembers()).toContain('sendText')
    expect(membersOf(connection).sort()).toEqual(documentedMembers().sort())
  })

  it('is the same object wherever the hub returns it', async () => {
    const { hub, connect, upgrades } = await serve()
    const { connection } = await connect()
    hub.joinRoom(connection, 'room')
    expect(hub.getConnection(connection.id)).toBe(connection)
    expect(hub.connections()[0]).toBe(connection)
    expect(hub.members('room')[0]).toBe(connection)
    expect(await upgrades[0]).toBe(connection)
  })

  it('cannot be given another id or address', async () => {
    const { connect } = await serve()
    const { connection } = await connect()
    const { id, remoteAddress } = connection
    const assign = (key: string) => Reflect.set(connection, key, 'x')
    expect(
      documentedMembers()
        .filter((key) => !key.startsWith('['))
        .filter(assign),
    ).toEqual(METHODS)
    expect(Reflect.ownKeys(connection)).toEqual(METHODS)
    expect([connection.id, connection.remoteAddress]).toEqual([id, remoteAddress])
  })

  it('has rooms that only the hub changes', async () => {
    const { hub, connect } = await serve()
    const [{ connection }, { connection: other }] = [await connect(), await connect()]
    // As long as they are in no room, they have the same set.
    for (const names of [[], ['tea', 'rum']]) {
      if (names.length > 0) hub.joinRoom(connection, names)
      const rooms = connection.rooms as Set<string> // as JavaScript sees it
      for (const change of [() => rooms.add('ale'), () => rooms.delete('tea'), () => rooms.clear()]) {
        expect(thrownBy(change)).toMatchObject({ code: 'WSHUB_ERR_INVALID_ROOM' })
      }
      expect([...connection.rooms]).toEqual(names)
      expect([other.rooms.size, hub.roomSize('ale')]).toEqual([0, 0])
    }
    hub.leaveRoom(connection, 'tea')
    expect([...new Set(connection.rooms)]).toEqual(['rum'])
    hub.leaveRoom(connection, 'rum')
    expect(hub.rooms()).toEqual([])
  })

  it('has counts of dropped messages that only the hub changes, and so has the hub', async () => {
    const { hub, connectRaw } = await serve({ slowConsumer: 'dropNewest', maxBufferedBytes: 65_536 })
    const { connection } = await connectRaw()
    while (connection.sendBinary(Buffer.alloc(40_000))); // none is written in this turn
    await turn()
    const one = { messages: 1, bytes: 40_004 }
    for (const counts of [connection.dropped, hub.dropped.dropNewest]) {
      expect(counts).toEqual(one)
      Object.assign(counts, { messages: 7, bytes: 7 })
    }
    expect([connection.dropped, hub.dropped.dropNewest, hub.stats().dropped.dropNewest]).toEqual([
      one,
      one,
      one,
    ])
  })
})
