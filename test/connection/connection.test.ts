import { describe, expect, it } from 'vitest'
import { type HubErrorCode, Opcode } from 'wshub'
import { serve } from '../support/hub-server.ts'
import { WAIT_MS } from '../support/in-time.ts'

const hubError = (code: HubErrorCode) => expect.objectContaining({ name: 'HubError', code })

describe('Connection', () => {
  describe('#sendText and #sendBinary', () => {
    it('deliver text as text and bytes as binary, in the order of the calls', async () => {
      const { connect, hub } = await serve()
      const { client, connection } = await connect()
      hub.joinRoom(connection, 'tea')
      expect(connection.sendText('1')).toBe(true)
      expect(hub.broadcast('2')).toBe(1)
      expect(connection.sendBinary(new Uint8Array([3]))).toBe(true)
      expect(hub.broadcastToRoom('tea', '4')).toBe(1)
      expect(connection.sendText('5')).toBe(true)
      expect(connection.close(4000, 'bye')).toBe(true)
      expect(await client.closed()).toBe('4000 bye')
      expect(client.received.all).toEqual(['1', '2', '0x03', '4', '5'])
    })

    it('copy the bytes at once', async () => {
      const { connect, hub } = await serve()
      const { client, connection } = await connect()
      const bytes = Buffer.from([1])
      connection.sendBinary(bytes)
      bytes[0] = 2
      hub.broadcast(bytes)
      bytes[0] = 3
      connection.sendText('end')
      expect(await client.upTo('end')).toEqual(['0x01', '0x02'])
    })

    it.each([undefined, null, 1, {}, []])('refuse %o', async (data) => {
      const { connect } = await serve()
      const { connection } = await connect()
      expect(() => connection.sendText(data as never)).toThrow(hubError('WSHUB_ERR_INVALID_PAYLOAD'))
      expect(() => connection.sendBinary(data as never)).toThrow(hubError('WSHUB_ERR_INVALID_PAYLOAD'))
    })

    it('refuse the payload of the other', async () => {
      const { connect } = await serve()
      const { connection } = await connect()
      expect(() => connection.sendText(Buffer.from('x') as never)).toThrow(
        hubError('WSHUB_ERR_INVALID_PAYLOAD'),
      )
      expect(() => connection.sendBinary('x' as never)).toThrow(hubError('WSHUB_ERR_INVALID_PAYLOAD'))
    })
  })

  describe('#sendPing and #sendPong', () => {
    it('send up to 125 bytes, answered by the client', async () => {
      const { connect, log } = await serve()
      const { client, connection } = await connect()
      expect(connection.lastPingTime).toBe(0)
      expect(connection.lastPongTime).toBe(0)
      expect(Math.abs(connection.openedAt - Date.now())).toBeLessThan(WAIT_MS)
      const before = Date.now()
      expect(connection.sendPing('hi')).toBe(true)
      await log.first('the pong', (entry) => entry === 'pong hi')
      expect(connection.lastPingTime).toBeGreaterThanOrEqual(before)
      expect(connection.lastPongTime).toBeGreaterThanOrEqual(connection.lastPingTime)
      expect(connection.sendPong(Buffer.alloc(125))).toBe(true)
      connection.sendText('end')
      await client.upTo('end')
    })

    it('refuse 126 bytes, also on a closed connection', async () => {
      const { connect } = await serve()
      const { connection } = await connect()
      const long = 'x'.repeat(126)
      expect(() => connection.sendPing(long)).toThrow(hubError('WSHUB_ERR_CONTROL_TOO_LONG'))
      expect(() => connection.sendPong(long)).toThrow(hubError('WSHUB_ERR_CONTROL_TOO_LONG'))
      connection.close()
      expect(() => connection.sendPing(long)).toThrow(hubError('WSHUB_ERR_CONTROL_TOO_LONG'))
    })
  })

  describe('#close', () => {
    it('closes with 1000 and no reason by default, and once', async () => {
      const { connect, log } = await serve()
      const { client, connection } = await connect()
      expect(connection.close()).toBe(true)
      expect(connection.close()).toBe(false)
      expect(connection.state).toBe('closing')
      expect(await client.closed()).toBe('1000')
      await log.first('onClose', (entry) => entry === 'close 1000')
      expect(connection.state).toBe('closed')
      expect(connection.close()).toBe(false)
    })

    it('prevents further sending', async () => {
      const { connect, hub, log } = await serve()
      const { client, connection } = await connect()
      hub.joinRoom(connection, 'tea')
      connection.close()
      const sends = () => [
        connection.sendText('x'),
        connection.sendBinary(Buffer.from('x')),
        connection.sendPing(),
        connection.sendPong(),
        hub.broadcast('x'),
        hub.broadcastToRoom('tea', 'x'),
      ]
      expect(sends()).toEqual([false, false, false, false, 0, 0])
      await client.closed()
      await log.first('onClose', (entry) => entry.startsWith('close'))
      expect(sends()).toEqual([false, false, false, false, 0, 0])
      expect(client.received.all).toEqual([])
    })

    it('delivers no message that arrives afterwards', async () => {
      const { connectRaw, log } = await serve()
      const { client, connection } = await connectRaw()
      connection.close()
      await client.closeFrame()
      client.send({ opcode: Opcode.text, payload: Buffer.from('late') })
      client.send({ opcode: Opcode.close, payload: Buffer.from([0x03, 0xe8]) })
      await log.first('onClose', (entry) => entry.startsWith('close'))
      expect(log.all).toEqual(['open', 'close 1000'])
    })

    it.each([
      [1004, ''],
      [1005, ''],
      [1006, ''],
      [1015, ''],
      [999, ''],
      [2000, ''],
      [5000, ''],
      [1000.5, ''],
      [1000, 'x'.repeat(124)],
      [1000, 'ü'.repeat(62)],
    ])('refuses %d %o and keeps the connection open', async (code, reason) => {
      const { connect } = await serve()
      const { client, connection } = await connect()
      expect(() => connection.close(code, reason)).toThrow(hubError('WSHUB_ERR_INVALID_CLOSE'))
      connection.sendText('end')
      await client.upTo('end')
    })

    it('terminates a client that never answers after closeTimeoutMs', async () => {
      const { connectRaw, log } = await serve({ closeTimeoutMs: 40 })
      const { client, connection } = await connectRaw()
      connection.close()
      await client.hungUp()
      expect(await log.first('onClose', (entry) => entry.startsWith('close'))).toBe('close 1000')
    })
  })

  describe('#terminate', () => {
    it('ends the connection without a close frame', async () => {
      const { connectRaw, log } = await serve()
      const { client, connection } = await connectRaw()
      connection.terminate()
      connection.terminate()
      await client.hungUp()
      await log.first('onClose', (entry) => entry === 'close 1006')
      connection.terminate()
      expect(client.frames.all).toEqual([])
      expect(log.all).toEqual(['open', 'close 1006'])
    })
  })

  describe('#metadata', () => {
    it('is filled before onOpen, and is set and read by key', async () => {
      const seen: unknown[] = []
      const { connect } = await serve(
        {},
        { onOpen: (connection) => seen.push(connection.getMetadata('name')) },
        { metadata: { name: 'ann' } },
      )
      const { connection } = await connect()
      expect(seen).toEqual(['ann'])
      connection.setMetadata('age', 7)
      expect(connection.metadata.get('age')).toBe(7)
      connection.metadata.delete('name')
      expect(connection.getMetadata('name')).toBeUndefined()
      const { connection: other } = await connect()
      expect([...other.metadata]).toEqual([['name', 'ann']])
      expect(other.getMetadata('age')).toBeUndefined()
    })
  })
})
