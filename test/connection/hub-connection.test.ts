import { readFileSync } from 'node:fs'
import { inspect } from 'node:util'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import { serve } from '../support/hub-server.ts'

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
})
