import { describe, expect, it } from 'vitest'
import { Opcode } from 'wshub'
import { inWords, Peer } from './support.ts'
import { close, closePayload, fragments, ping, text, wire } from './wire.ts'

describe('a close frame of the client (RFC 6455 §5.5.1, §7.4)', () => {
  const codes = [
    1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999,
  ]

  it.each(codes)(
    'a close frame with the code %d is answered with it, and the application gets it',
    async (code) => {
      const peer = await Peer.meet()
      peer.write(close(code))
      await peer.closes([`close ${code}`], [`close ${code}`])
      expect(peer.served.errors).toEqual([])
    },
  )

  it('an empty close frame is answered with an empty one, and the application gets 1005', async () => {
    const peer = await Peer.meet()
    peer.write(close())
    await peer.closes(['close'], ['close 1005'])
  })

  it.each([
    { what: 'of one letter', reason: 'x' },
    { what: 'of many languages', reason: 'tschüß, κόσμε, さようなら, 👋' },
    { what: 'of 123 bytes', reason: 'r'.repeat(123) },
    { what: 'of 123 bytes in 41 characters', reason: '€'.repeat(41) },
  ])('a close frame may have a reason $what', async ({ reason }) => {
    const peer = await Peer.meet()
    peer.write(close(1000, reason))
    await peer.closes([`close 1000 ${reason}`], [`close 1000 ${reason}`])
  })

  it.each([0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 65_535])(
    'a close frame with the code %d, which nobody may send, fails with 1002',
    async (code) => {
      const peer = await Peer.meet()
      peer.write(close(code))
      await peer.fails(1002, 'WSHUB_ERR_PROTOCOL')
    },
  )

  it.each([0, 3, 255])('a close frame of the one byte %d fails with 1002', async (byte) => {
    const peer = await Peer.meet()
    peer.write(wire({ opcode: Opcode.close, payload: Buffer.from([byte]) }))
    await peer.fails(1002, 'WSHUB_ERR_PROTOCOL')
  })

  it('a close frame with a reason of 124 bytes fails with 1002 (§5.5)', async () => {
    const peer = await Peer.meet()
    peer.write(close(1000, 'r'.repeat(124)))
    await peer.fails(1002, 'WSHUB_ERR_PROTOCOL')
  })

  it.each(['ff', 'c0af', 'eda080', 'f4908080', 'cebae1bd', '80'])(
    'a close frame with a reason that is not UTF-8 (%s) fails with 1007 (§8.1)',
    async (bytes) => {
      const peer = await Peer.meet()
      peer.write(close(1000, Buffer.from(bytes, 'hex')))
      await peer.fails(1007, 'WSHUB_ERR_INVALID_DATA')
    },
  )

  it('a close frame that arrives byte by byte is read', async () => {
    const peer = await Peer.meet()
    await peer.writeBytewise(close(4321, 'slow'))
    await peer.closes(['close 4321 slow'], ['close 4321 slow'])
  })
})

describe('after the close frame of the client (RFC 6455 §5.5.1)', () => {
  it.each([
    { what: 'a ping is not answered', late: ping('late') },
    { what: 'a message is not heard', late: text('late') },
    { what: 'a second close frame is not answered', late: close(1001) },
    { what: 'a broken frame is not looked at', late: wire({ opcode: 5 }) },
    { what: 'the rest of a message is not heard', late: wire({ opcode: Opcode.continuation }) },
    { what: 'bytes of no frame are not looked at', late: Buffer.alloc(100_000, 0xff) },
  ])('$what', async ({ late }) => {
    const peer = await Peer.meet()
    peer.write(close(1000), late)
    await peer.closes(['close 1000'], ['close 1000'])
  })
})

describe('before the close frame of the client', () => {
  it.each([
    { what: 'a message', before: [text('in time')] },
    { what: 'a message in fragments', before: fragments(Opcode.text, ['in', ' ', 'time']) },
  ])('$what in the same packet is answered', async ({ before }) => {
    const peer = await Peer.meet()
    peer.write(...before, close(1000))
    await peer.closes(['text in time', 'close 1000'], ['message in time', 'close 1000'])
  })

  it('a ping in the same packet is answered (§5.5.2)', async () => {
    const peer = await Peer.meet()
    peer.write(ping('in time'), close(1000))
    await peer.closes(['pong in time', 'close 1000'], ['ping in time', 'close 1000'])
  })

  it('a thousand messages in the same packet are answered in their order', async () => {
    const peer = await Peer.meet()
    const numbers = Array.from({ length: 1_000 }, (_, i) => String(i))
    peer.write(...numbers.map(text), close(1000))
    await peer.closes(
      [...numbers.map((n) => `text ${n}`), 'close 1000'],
      [...numbers.map((n) => `message ${n}`), 'close 1000'],
    )
  })

  it('a message of 256 KiB is received', async () => {
    const peer = await Peer.meet({ maxMessageSize: 262_144 })
    const long = 'BAsd7&jh23'.repeat(26_214)
    peer.write(text(long), text('Hello World!'), close(1000), ping())
    await peer.client.hungUp()
    await peer.served.log.first('onClose', (entry) => entry.startsWith('close'))
    expect(peer.log).toEqual([`message ${long}`, 'message Hello World!', 'close 1000'])
  })
})

describe('a close of the server (RFC 6455 §7.1.2)', () => {
  const connected = async () => {
    const peer = await Peer.meet()
    const connection = peer.served.connections[1]
    if (connection === undefined) throw new Error('the client has no connection')
    return { peer, connection }
  }
  const closeFrame = (peer: Peer) =>
    peer.client.frames.first('the close frame', ({ opcode }) => opcode === Opcode.close)

  it('a close frame follows everything sent before it, and nothing follows it', async () => {
    const { peer, connection } = await connected()
    connection.sendText('a')
    connection.sendPing('p')
    connection.close(4000, 'enough')
    expect(connection.sendText('late')).toBe(false)
    peer.served.hub.broadcast('to the neighbour')
    await closeFrame(peer)
    peer.write(ping('late'), text('late'), close(4000))
    await peer.client.hungUp()
    expect(peer.client.frames.all.map(inWords)).toEqual(['text a', 'ping p', 'close 4000 enough'])
  })

  it('a close waits for the answer of the client, and no more messages are received', async () => {
    const { peer, connection } = await connected()
    connection.close(4000, 'enough')
    await closeFrame(peer)
    peer.write(text('crossed'), ...fragments(Opcode.text, ['a', 'b']))
    peer.write(close(4001, 'so be it'))
    await peer.client.hungUp()
    expect(peer.client.frames.all.map(inWords)).toEqual(['close 4000 enough'])
    await peer.served.log.first('onClose', (entry) => entry.startsWith('close'))
    expect(peer.log).toEqual(['close 4001 so be it'])
  })

  it('close frames that cross each other are answered once by each side', async () => {
    const { peer, connection } = await connected()
    peer.write(close(4001))
    connection.close(4000)
    await peer.client.hungUp()
    expect(peer.client.frames.all.map(inWords)).toEqual(['close 4000'])
    await peer.served.log.first('onClose', (entry) => entry.startsWith('close'))
    expect(peer.log).toEqual(['close 4001'])
  })

  it.each([
    { what: 'a protocol error', answer: close(1006) },
    {
      what: 'a close frame of one byte',
      answer: wire({ opcode: Opcode.close, payload: closePayload(1000).subarray(1) }),
    },
  ])('a close also ends when the client answers with $what', async ({ answer }) => {
    const { peer, connection } = await connected()
    connection.close(4000)
    await closeFrame(peer)
    peer.write(answer)
    await peer.client.hungUp()
    expect(await peer.served.log.first('onClose', (entry) => entry.startsWith('close'))).toBe('close 4000')
  })
})

describe('the end of TCP without a close frame (RFC 6455 §7.1.5)', () => {
  it.each([
    { what: 'FIN', end: (peer: Peer) => peer.client.socket.end() },
    { what: 'RST', end: (peer: Peer) => peer.client.socket.resetAndDestroy() },
    {
      what: 'FIN in the middle of a frame',
      end: (peer: Peer) => peer.client.socket.end(text('cut').subarray(0, 7)),
    },
  ])('an end of TCP ($what) is a close with 1006', async ({ end }) => {
    const peer = await Peer.meet()
    end(peer)
    await peer.closes([], ['close 1006'])
  })
})
