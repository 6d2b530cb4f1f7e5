import { describe, expect, it } from 'vitest'
import { BoundedMap } from '../../src/connection/metadata.ts'
import { handshake, RawClient, serve, thrownBy } from '../support/hub-server.ts'

const tooMuch = expect.objectContaining({ code: 'WSHUB_ERR_TOO_MUCH_METADATA', closeCode: 1008 })

describe('BoundedMap', () => {
  it('is a Map with a limited number of entries', () => {
    const map = new BoundedMap<string, number>(2).set('a', 1).set('b', 2)
    expect(() => map.set('c', 3)).toThrow(tooMuch)
    expect([...map.set('a', 4)]).toEqual([
      ['a', 4],
      ['b', 2],
    ])
    map.delete('a')
    expect(map.set('c', 3).size).toBe(2)
    expect(map).toBeInstanceOf(Map)
  })
})

describe('connection.metadata', () => {
  it('accepts maxMetadataEntries entries, and throws for one more', async () => {
    const { connect } = await serve({ limits: { maxMetadataEntries: 2 } }, {}, { metadata: { a: 1 } })
    const { connection } = await connect()
    connection.setMetadata('b', 2)
    expect(thrownBy(() => connection.metadata.set('c', 3))).toEqual(tooMuch)
    expect(thrownBy(() => connection.setMetadata('c', 3))).toEqual(tooMuch)
    connection.setMetadata('a', 3)
    expect(Object.fromEntries(connection.metadata)).toEqual({ a: 3, b: 2 })
  })

  it('closes the connection with 1008 when its handler does not catch that error', async () => {
    const { connect } = await serve(
      { limits: { maxMetadataEntries: 1 } },
      { onMessage: (connection, { data }) => connection.setMetadata(String(data), true) },
    )
    const { client } = await connect()
    client.socket.send('a')
    client.socket.send('b')
    expect(await client.closed()).toBe('1008')
  })

  it('is refused before the 101 when an upgrade has too many entries', async () => {
    const init = { metadata: { a: 1, b: 2 } }
    const { port, refusals, hub } = await serve({ limits: { maxMetadataEntries: 1 } }, {}, init)
    new RawClient(port).socket.write(handshake())
    expect(await refusals.first('the refusal', () => true)).toEqual(tooMuch)
    expect(hub.size).toBe(0)
  })
})
