import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { Hub, MemoryBackplane, MemoryBus } from 'wshub'
import { serve, thrownBy } from '../support/hub-server.ts'

const SECRET = 'a-secret-that-no-log-shows'

describe('Hub#options', () => {
  it('has every default in place, and the given options', () => {
    const { options } = new Hub({ maxConnections: 5, limits: { maxFragments: 9 }, enableCompression: true })
    expect(options).toMatchObject({
      maxConnections: 5,
      maxMessageSize: 65_536,
      trustProxy: false,
      proxyHeader: 'x-forwarded-for',
      limits: { maxFragments: 9, maxPendingUpgrades: 1_024 },
      enableCompression: { thresholdBytes: 512 },
      cluster: { namespace: 'wshub', callTimeoutMs: 2_000 },
    })
  })

  it('is frozen, with its content', () => {
    const trustProxy = ['10.0.0.0/8']
    const { options } = new Hub({ trustProxy, enableCompression: true, protocols: ['chat'] })
    for (const value of [
      options,
      options.limits,
      options.cluster,
      options.protocols,
      options.allowedOrigins,
    ]) {
      expect(Object.isFrozen(value)).toBe(true)
    }
    expect(Object.isFrozen(options.enableCompression)).toBe(true)
    trustProxy.push('everyone')
    expect(options.trustProxy).toEqual(['10.0.0.0/8'])
  })

  it('makes another hub of the same kind', () => {
    const { options } = new Hub({ maxConnections: 5, trustProxy: 1, limits: { rateLimitPolicy: 'close' } })
    expect(new Hub(options).options).toEqual(options)
  })
})

describe('a hub and its connections', () => {
  async function secretive() {
    const backplane = Object.assign(new MemoryBackplane(new MemoryBus()), { password: SECRET })
    const { hub, connect } = await serve({ backplane })
    const { connection } = await connect()
    connection.setMetadata('token', SECRET)
    return { hub, connection }
  }

  it('are short in a log, without a secret', async () => {
    const { hub, connection } = await secretive()
    for (const noun of [hub, connection, hub.cluster]) {
      for (const text of [inspect(noun), inspect(noun, { depth: 9, showHidden: true }), inspect({ noun })]) {
        expect(text).not.toContain(SECRET)
        expect(text.length).toBeLessThan(1_000)
      }
    }
    expect(JSON.stringify({ hub, connection })).not.toContain(SECRET)
  })

  it('show the important properties', async () => {
    const { hub, connection } = await secretive()
    hub.joinRoom(connection, 'tea')
    expect(JSON.parse(JSON.stringify(hub))).toEqual({
      node: hub.cluster.node,
      state: 'open',
      connections: 1,
      rooms: 1,
      cluster: hub.cluster.state,
    })
    expect(JSON.parse(JSON.stringify(connection))).toMatchObject({
      id: connection.id,
      state: 'open',
      remoteAddress: '127.0.0.1',
      rooms: ['tea'],
      moreRooms: 0,
    })
    expect(inspect(hub)).toMatch(/^Hub \{/)
    expect(inspect(connection)).toMatch(/^Connection \{/)
    expect(inspect(connection)).toContain(connection.id)
    expect(inspect(hub.cluster)).toMatch(/^Cluster \{/)
  })

  it('show ten of many rooms', async () => {
    const { hub, connection } = await secretive()
    hub.joinRoom(
      connection,
      Array.from({ length: 500 }, (_, index) => `room ${index}`),
    )
    expect(connection.toJSON()).toMatchObject({ moreRooms: 490 })
    expect(inspect(connection).length).toBeLessThan(1_000)
  })
})

describe('Hub#joinRoom and Hub#leaveRoom', () => {
  it('say how to use an id instead of a connection', () => {
    const hub = new Hub()
    for (const call of [hub.joinRoom, hub.leaveRoom]) {
      expect(thrownBy(() => call.call(hub, 'node.0' as never, 'tea'))).toMatchObject({
        code: 'WSHUB_ERR_FOREIGN_CONNECTION',
        message:
          'you passed the string "node.0" instead of a connection: hub.getConnection(id) finds it in this process, hub.cluster.join and hub.cluster.leave take { id }',
      })
    }
  })

  it.each([
    [undefined, 'undefined'],
    [null, 'null'],
    [{ id: 'node.0' }, 'an object'],
  ])('say that they expect a connection, not %o', (connection, shown) => {
    expect(thrownBy(() => new Hub().joinRoom(connection as never, 'tea'))).toMatchObject({
      message: `a connection of this hub is expected, not ${shown}`,
    })
  })
})
