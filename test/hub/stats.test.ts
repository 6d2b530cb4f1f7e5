import { describe, expect, it } from 'vitest'
import { Hub } from 'wshub'
import { handshake, RawClient, serve } from '../support/hub-server.ts'
import { until } from '../support/raw.ts'

describe('hub.stats', () => {
  it('begins with zeros', () => {
    const none = { messages: 0, bytes: 0 }
    const { distributions, ...stats } = new Hub().stats()
    for (const { bounds, counts, sum } of Object.values(distributions)) {
      expect({ counts, sum }).toEqual({ counts: Array(bounds.length + 1).fill(0), sum: 0 })
    }
    expect(stats).toEqual({
      connections: 0,
      connectionStates: { connecting: 0, open: 0, closing: 0 },
      slowConnections: 0,
      rooms: 0,
      pendingUpgrades: 0,
      bufferedBytes: 0,
      heldBytes: 0,
      acceptedUpgrades: 0,
      refusedUpgrades: {},
      closedConnections: 0,
      lostConnections: 0,
      closeReasons: {
        normal: 0,
        terminated: 0,
        lost: 0,
        timeout: 0,
        openTimeout: 0,
        slow: 0,
        rate: 0,
        tooBig: 0,
        protocol: 0,
        expired: 0,
        shutdown: 0,
        handlerError: 0,
      },
      closeCauses: [],
      receivedMessages: 0,
      receivedBytes: 0,
      sentMessages: 0,
      sentBytes: 0,
      dropped: {
        dropNewest: none,
        dropOldest: none,
        conflate: none,
        resync: none,
        volatile: none,
        overflow: none,
        closed: none,
      },
      history: undefined,
      presence: undefined,
    })
  })

  it('counts connections, rooms, upgrades and messages', async () => {
    const { connect, connectRaw, hub, port, log, refusals } = await serve()
    const a = await connect()
    const b = await connectRaw()
    hub.joinRoom(a.connection, ['x', 'y'])
    hub.joinRoom(b.connection, 'x')
    expect(hub.broadcastToRoom('x', 'hello')).toBe(2) // two frames of 7 bytes
    a.connection.sendText('you')
    a.client.socket.send('é')
    a.client.socket.send(Buffer.alloc(10))
    await log.first('the messages', (entry) => entry.startsWith('message 0x'))
    await a.client.received.first('the message', (data) => data === 'you')
    new RawClient(port).socket.write(handshake(['Origin: https://evil.example']))
    await refusals.first('the refusal', () => true)
    expect(hub.stats()).toMatchObject({
      connections: 2,
      rooms: 2,
      pendingUpgrades: 0,
      bufferedBytes: 0,
      heldBytes: 0,
      acceptedUpgrades: 2,
      refusedUpgrades: { WSHUB_ERR_ORIGIN: 1 },
      receivedMessages: 2,
      receivedBytes: 12,
      sentMessages: 3,
      sentBytes: 19,
    })
    await a.client.close()
    b.client.socket.resetAndDestroy()
    await until('both to be gone', () => hub.size === 0)
    expect(hub.stats()).toMatchObject({ connections: 0, rooms: 0, closedConnections: 2, lostConnections: 1 })
    expect(hub.stats().closeReasons).toMatchObject({ normal: 1, lost: 1 })
  })

  it('returns a copy', async () => {
    const hub = new Hub()
    const { dropped, refusedUpgrades, closeReasons } = hub.stats()
    expect(hub.stats().dropped).not.toBe(dropped)
    expect(hub.stats().refusedUpgrades).not.toBe(refusedUpgrades)
    expect(hub.stats().closeReasons).not.toBe(closeReasons)
  })

  it('counts messages that a slow client was not sent', async () => {
    const { connectRaw, hub } = await serve({ slowConsumer: 'dropNewest', maxBufferedBytes: 200_000 })
    const { client, connection } = await connectRaw()
    client.socket.pause()
    let accepted = 0
    let refused = 0
    while (refused < 5) {
      if (connection.sendBinary(Buffer.alloc(60_000))) accepted++
      else refused++
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(hub.stats()).toMatchObject({
      sentMessages: accepted,
      sentBytes: accepted * 60_004,
      dropped: { dropNewest: { messages: 5, bytes: 5 * 60_004 } },
    })
    expect(hub.stats().bufferedBytes).toBe(connection.bufferedBytes)
  })
})
