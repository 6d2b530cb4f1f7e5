import { describe, expect, it } from 'vitest'
import { type BroadcastOptions, Hub, type HubErrorCode } from 'wshub'
import { Bus } from '../support/bus.ts'
import { enter, heard, join, three } from '../support/cluster.ts'
import { serve, thrownBy } from '../support/hub-server.ts'

const hubError = (code: HubErrorCode) => expect.objectContaining({ name: 'HubError', code })

/** Three connections of one hub: a and b in tea, b and c in rum. */
async function table() {
  const { hub, connect } = await serve()
  const [a, b, c] = [await connect(), await connect(), await connect()]
  hub.joinRoom(a.connection, 'tea')
  hub.joinRoom(b.connection, ['tea', 'rum'])
  hub.joinRoom(c.connection, 'rum')
  const received = async () => {
    hub.broadcast('end')
    return Promise.all([a, b, c].map(({ client }) => client.upTo('end')))
  }
  return { hub, a: a.connection, b: b.connection, c: c.connection, received }
}

describe('Hub#broadcastExcept and Hub#broadcastToRoomExcept', () => {
  it('take a connection or its id', async () => {
    const { hub, a, b, received } = await table()
    expect(hub.broadcastExcept('1', a)).toBe(2)
    expect(hub.broadcastExcept('2', a.id)).toBe(2)
    expect(hub.broadcastToRoomExcept('tea', '3', b)).toBe(1)
    expect(hub.broadcastToRoomExcept('tea', '4', b.id)).toBe(1)
    expect(await received()).toEqual([
      ['3', '4'],
      ['1', '2'],
      ['1', '2'],
    ])
  })

  it('take the id of a connection that is closed', async () => {
    const { hub } = await table()
    expect(hub.broadcastExcept('1', `${hub.cluster.node}.zz`)).toBe(3)
    expect(hub.broadcastExcept('2', 'another-node.0')).toBe(3)
  })

  it.each([
    ['undefined', undefined],
    ['null', null],
    ['an empty id', ''],
    ['what is no id of a connection', 'user 7'],
    ['a text in its place', '{"text":"hello"}'],
    ['bytes in its place', Buffer.from('hello')],
    ['a number', 7],
    ['an array of ids', ['node.0']],
    ['an object without an id', {}],
    ['an object of another id', { id: 'user-7' }],
  ])('refuse %s', async (_name, except) => {
    const { hub, received } = await table()
    expect(() => hub.broadcastExcept('x', except as never)).toThrow(hubError('WSHUB_ERR_INVALID_OPTION'))
    expect(() => hub.broadcastToRoomExcept('tea', 'x', except as never)).toThrow(
      hubError('WSHUB_ERR_INVALID_OPTION'),
    )
    expect(await received()).toEqual([[], [], []])
  })

  it('name the option if several are passed', () => {
    expect(thrownBy(() => new Hub().broadcastExcept('x', ['node.0', 'node.1'] as never))).toMatchObject({
      message: 'except is a connection or the id of one, not an array of 2; the option except takes several',
    })
  })
})

describe('the options except and exceptRooms', () => {
  it('exclude one connection or several, by id or as objects', async () => {
    const { hub, a, b, c, received } = await table()
    expect(hub.broadcast('1', { except: a })).toBe(2)
    expect(hub.broadcast('2', { except: [a.id, b] })).toBe(1)
    expect(hub.broadcastToRoom('rum', '3', { except: c.id })).toBe(1)
    expect(hub.broadcast('4', { except: [] })).toBe(3)
    expect(hub.broadcast('5', { except: undefined })).toBe(3)
    expect(await received()).toEqual([
      ['4', '5'],
      ['1', '3', '4', '5'],
      ['1', '2', '4', '5'],
    ])
  })

  it('exclude the members of one room or several', async () => {
    const { hub, received } = await table()
    expect(hub.broadcast('1', { exceptRooms: 'tea' })).toBe(1)
    expect(hub.broadcastToRoom('tea', '2', { exceptRooms: ['rum', 'none'] })).toBe(1)
    expect(hub.broadcast('3', { exceptRooms: ['tea', 'rum'] })).toBe(0)
    expect(hub.broadcast('4', { exceptRooms: [] })).toBe(3)
    expect(await received()).toEqual([['2', '4'], ['4'], ['1', '4']])
  })

  it('are combined with each other and with the argument', async () => {
    const { hub, a, b, c, received } = await table()
    expect(hub.broadcastExcept('1', a, { except: b })).toBe(1)
    expect(hub.broadcastToRoomExcept(['tea', 'rum'], '2', c, { exceptRooms: 'tea' })).toBe(0)
    expect(hub.broadcast('3', { except: c, exceptRooms: 'rum', key: 'k' })).toBe(1)
    expect(await received()).toEqual([['3'], [], ['1']])
  })

  it.each<[string, object, HubErrorCode]>([
    ['except of another form', { except: 'user 7' }, 'WSHUB_ERR_INVALID_OPTION'],
    ['an except of several, one of another form', { except: ['node.0', null] }, 'WSHUB_ERR_INVALID_OPTION'],
    ['except null', { except: null }, 'WSHUB_ERR_INVALID_OPTION'],
    ['a set', { except: new Set(['node.0']) }, 'WSHUB_ERR_INVALID_OPTION'],
    ['exceptRooms without a name', { exceptRooms: '' }, 'WSHUB_ERR_INVALID_ROOM'],
    ['exceptRooms that are no names', { exceptRooms: ['tea', 7] }, 'WSHUB_ERR_INVALID_ROOM'],
    ['exceptRooms null', { exceptRooms: null }, 'WSHUB_ERR_INVALID_ROOM'],
  ])('refuse %s', async (_name, options, code) => {
    const { hub, a, received } = await table()
    for (const send of [
      () => hub.broadcast('x', options),
      () => hub.broadcastExcept('x', a, options),
      () => hub.broadcastToRoom('tea', 'x', options),
      () => hub.broadcastToRoomExcept('tea', 'x', a, options),
    ]) {
      expect(send).toThrow(hubError(code))
    }
    expect(await received()).toEqual([[], [], []])
  })

  it('are not accepted for a message to one connection', async () => {
    const { hub, a } = await table()
    const options: BroadcastOptions = { except: a }
    expect(() => a.sendText('x', options)).toThrow(hubError('WSHUB_ERR_INVALID_OPTION'))
    expect(() => hub.sendTo(a.id, 'x', options)).toThrow(hubError('WSHUB_ERR_INVALID_OPTION'))
  })

  it('exclude connections and rooms of all nodes', async () => {
    const nodes = await three(new Bus())
    const [a, b, c] = nodes
    await enter(a, 'tea')
    await enter(b, 'tea', 'rum')
    await enter(c, 'tea', 'milk')
    a.hub.broadcast('1', { except: [a.connection, b.connection.id] })
    a.hub.broadcast('2', { except: [b.connection, c.connection] })
    a.hub.broadcast('3', { exceptRooms: ['rum', 'milk'] })
    a.hub.broadcastToRoom('tea', '4', { exceptRooms: 'rum' })
    a.hub.broadcastToRoom(['tea', 'milk'], '5', { exceptRooms: 'rum', except: c.connection })
    a.hub.broadcastExcept('6', b.connection, { except: c.connection, exceptRooms: 'none', volatile: true })
    b.hub.broadcastToRoomExcept('tea', '7', a.connection, { except: b.connection })
    // The last message on the channels of the rooms.
    for (const hub of [a.hub, b.hub]) hub.broadcastToRoom(['tea', 'milk', 'rum'], hub === a.hub ? 'a' : 'b')
    const received = await heard(nodes)
    expect(received.map((texts) => texts.filter((text) => text > '0' && text < '9'))).toEqual([
      ['2', '3', '4', '5', '6'],
      [],
      ['1', '4', '7'],
    ])
    expect(c.hub.cluster.stats()).toMatchObject({ malformed: 0, unknown: 0 })
  })
})

describe('the option local', () => {
  it('keeps a broadcast in its process', async () => {
    const bus = new Bus()
    const nodes = await three(bus)
    const [a, b, c] = nodes
    for (const node of nodes) await enter(node, 'tea')
    const before = a.hub.cluster.stats().published
    expect(a.hub.broadcast('1', { local: true })).toBe(1)
    expect(a.hub.broadcastToRoom('tea', '2', { local: true })).toBe(1)
    expect(a.hub.broadcastExcept('3', a.connection, { local: true })).toBe(0)
    expect(a.hub.broadcastToRoomExcept(['tea', 'rum'], '4', b.connection, { local: true, key: 'k' })).toBe(1)
    expect(a.hub.cluster.stats().published).toBe(before)
    expect(a.hub.broadcast('5', { local: false })).toBe(1)
    expect(a.hub.broadcast('6', { local: undefined })).toBe(1)
    expect(await heard([a, b, c])).toEqual([
      ['1', '2', '4', '5', '6'],
      ['5', '6'],
      ['5', '6'],
    ])
  })

  it.each([1, 'yes', null])('is not %o', (local) => {
    expect(() => new Hub().broadcast('x', { local: local as never })).toThrow(
      hubError('WSHUB_ERR_INVALID_OPTION'),
    )
  })
})

describe('Hub#sendTo', () => {
  it('takes a connection, a member of the cluster, or an id', async () => {
    const bus = new Bus()
    const [a, b] = [await join(bus), await join(bus)]
    expect(a.hub.sendTo(a.connection, '1')).toBe(true)
    expect(a.hub.sendTo({ id: b.connection.id, metadata: {} }, '2')).toBe(true)
    expect(a.hub.sendTo(b.connection.id, '3')).toBe(true)
    a.hub.sendTo(b.connection, 'end')
    expect(await b.client.upTo('end')).toEqual(['2', '3'])
    a.hub.sendTo(a.connection, 'end')
    expect(await a.client.upTo('end')).toEqual(['1'])
  })

  it.each([undefined, null, 7, ['node.0'], {}])('refuses %o', (to) => {
    expect(() => new Hub().sendTo(to as never, 'x')).toThrow(hubError('WSHUB_ERR_INVALID_OPTION'))
  })
})
