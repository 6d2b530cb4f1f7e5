import { describe, expect, it } from 'vitest'
import { Opcode } from 'wshub'
import { eventually } from '../support/hub-server.ts'
import { Peer } from './support.ts'
import { inPieces, ping, pong, text, wire } from './wire.ts'

describe('a ping (RFC 6455 §5.5.2, §5.5.3)', () => {
  it.each([
    { what: 'without a payload', payload: Buffer.alloc(0) },
    { what: 'of one byte', payload: Buffer.from([0]) },
    { what: 'of bytes that are no text', payload: Buffer.from('00fffefdfcfbff', 'hex') },
    { what: 'of 125 bytes', payload: Buffer.alloc(125, 0xfe) },
  ])('a ping $what is answered with a pong of the same bytes', async ({ payload }) => {
    const peer = await Peer.meet()
    peer.write(ping(payload))
    const [answer, ...rest] = await peer.heard()
    expect(rest).toEqual([])
    expect(answer).toMatchObject({ opcode: Opcode.pong, fin: true, rsv1: false, masked: false })
    expect(answer?.payload.equals(payload)).toBe(true)
  })

  it('pings and messages are answered in order, in one packet or byte by byte', async () => {
    const peer = await Peer.meet()
    const pings = Array.from({ length: 10 }, (_, i) => ping(`payload-${i}`))
    const pongs = pings.map((_, i) => `pong payload-${i}`)
    peer.write(...pings)
    expect(await peer.heardWords()).toEqual(pongs)
    await peer.writeBytewise(...pings)
    expect(await peer.heardWords()).toEqual(pongs)
  })
})

describe('a pong that nobody asked for (RFC 6455 §5.5.3)', () => {
  it.each(['', 'unasked', 'x'.repeat(125)])(
    'an unsolicited pong (%s) is received and not answered',
    async (payload) => {
      const peer = await Peer.meet()
      peer.write(pong(payload), ping('asked'), pong(payload))
      expect(await peer.heardWords()).toEqual(['pong asked'])
      const heard = `pong ${payload}`.trim()
      expect(peer.log.slice(0, 3)).toEqual([heard, 'ping asked', heard])
    },
  )

  it('a hundred thousand unsolicited pongs are accepted', async () => {
    const peer = await Peer.meet()
    const flood = Buffer.concat(Array.from({ length: 10_000 }, () => pong('x')))
    for (let i = 0; i < 10; i++) await peer.flush(flood)
    expect(await peer.heard()).toEqual([])
    expect(peer.log.filter((entry) => entry === 'pong x')).toHaveLength(100_000)
  })
})

describe('a flood of pings (RFC 6455 §5.5.2, §10.4)', () => {
  it('a flood of pings of a client that reads is answered, each in order', async () => {
    const peer = await Peer.meet()
    const rounds = 100
    for (let round = 0; round < rounds; round++) {
      peer.write(...Array.from({ length: 50 }, (_, i) => ping(`${round}.${i}`)))
      await peer.client.frames.until('the pongs', (all) => all.length >= 50 * (round + 1))
    }
    const pongs = Array.from({ length: rounds * 50 }, (_, i) => `pong ${Math.floor(i / 50)}.${i % 50}`)
    expect(await peer.heardWords()).toEqual(pongs)
  })

  it('up to 60 pings in one packet are answered', async () => {
    const peer = await Peer.meet()
    const numbers = Array.from({ length: 60 }, (_, i) => String(i))
    peer.write(...numbers.map(ping))
    expect(await peer.heardWords()).toEqual(numbers.map((n) => `pong ${n}`))
  })

  it('more pings in one packet end the connection', async () => {
    const peer = await Peer.meet()
    peer.write(...Array.from({ length: 61 }, () => ping()))
    await peer.client.hungUp()
    expect(await peer.served.log.first('onClose', (entry) => entry.startsWith('close'))).toMatch(
      /^close 1006/,
    )
    expect(peer.served.hub.size).toBe(1)
  })

  it('a flood of pings of a client that never reads ends its connection, with little held for it', async () => {
    const peer = await Peer.meet({ maxBufferedBytes: 1_000_000 })
    const connection = peer.served.connections[1]
    peer.client.socket.pause()
    const flood = Buffer.concat(Array.from({ length: 50 }, () => ping('x'.repeat(125))))
    let most = 0
    const pinging = setInterval(() => {
      for (const piece of inPieces(Buffer.concat(Array.from({ length: 20 }, () => flood)), flood.length)) {
        if (!peer.client.socket.destroyed) peer.client.socket.write(piece)
      }
    }, 1)
    try {
      await eventually(
        'the connection to end',
        () => {
          most = Math.max(most, connection?.bufferedBytes ?? 0)
          return connection?.state === 'closed'
        },
        () => ({ state: connection?.state, most }),
      )
    } finally {
      clearInterval(pinging)
    }
    expect(most).toBeLessThanOrEqual(60 * 127)
    expect(await peer.served.log.first('onClose', (entry) => entry.startsWith('close'))).toMatch(
      /^close 1006/,
    )
    expect(peer.served.hub.size).toBe(1)
  })

  it('a flood of pings within a message does not disturb it', async () => {
    const peer = await Peer.meet()
    const pings = Array.from({ length: 50 }, () => ping())
    peer.write(
      wire({ opcode: Opcode.text, fin: false, payload: 'a' }),
      ...pings,
      wire({ opcode: Opcode.continuation, payload: 'b' }),
      text('c'),
    )
    const frames = await peer.heardWords()
    expect(frames.filter((frame) => frame !== 'pong')).toEqual(['text ab', 'text c'])
    expect(frames).toHaveLength(52)
  })
})
