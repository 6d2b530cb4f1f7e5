import { describe, expect, it } from 'vitest'
import { Opcode } from 'wshub'
import { Peer } from './support.ts'
import { binary, fragments, inPieces, ping, text, wire } from './wire.ts'

const hex = (bytes: string) => Buffer.from(bytes, 'hex')

/** "κόσμε", whose second letter takes three bytes. */
const word = 'cebae1bdb9cf83cebcceb5'

const valid = [
  { what: 'ASCII', bytes: '68656c6c6f24776f726c64' },
  { what: 'two bytes', bytes: '68656c6c6fc2a2776f726c64' },
  { what: 'three bytes', bytes: '68656c6c6fe282ac776f726c64' },
  { what: 'four bytes', bytes: '68656c6c6ff0a4ada2776f726c64' },
  { what: 'a Greek word', bytes: word },
  { what: 'NUL', bytes: '00' },
  { what: 'the first of two bytes, U+0080', bytes: 'c280' },
  { what: 'the first of three bytes, U+0800', bytes: 'e0a080' },
  { what: 'the first of four bytes, U+10000', bytes: 'f0908080' },
  { what: 'the last of one byte, U+007F', bytes: '7f' },
  { what: 'the last of two bytes, U+07FF', bytes: 'dfbf' },
  { what: 'the last of three bytes, U+FFFF', bytes: 'efbfbf' },
  { what: 'the last of all, U+10FFFF', bytes: 'f48fbfbf' },
  { what: 'the last before the surrogates, U+D7FF', bytes: 'ed9fbf' },
  { what: 'the first behind the surrogates, U+E000', bytes: 'ee8080' },
  { what: 'the replacement character, U+FFFD', bytes: 'efbfbd' },
  { what: 'a byte order mark, which is kept', bytes: 'efbbbf41' },
  { what: 'two byte order marks', bytes: 'efbbbfefbbbf' },
  { what: 'the specials U+FFF9 to U+FFFB', bytes: 'efbfb9efbfbaefbfbb' },
  { what: 'the non-characters U+FFFE and U+1FFFE', bytes: 'efbfbef09fbfbe' },
  { what: 'the non-characters U+10FFFE and U+FDD0', bytes: 'f48fbfbeefb790' },
]

const invalid = [
  { what: 'a continuation byte alone', bytes: '80' },
  { what: 'the last continuation byte alone', bytes: 'bf' },
  { what: 'two continuation bytes', bytes: '80bf' },
  { what: 'seven continuation bytes', bytes: '80bf80bf80bf80' },
  { what: 'a start of two bytes alone', bytes: 'c320' },
  { what: 'a start of three bytes alone', bytes: 'e020' },
  { what: 'a start of four bytes alone', bytes: 'f020' },
  { what: 'a start of five bytes', bytes: 'f888808080' },
  { what: 'a start of six bytes', bytes: 'fc8480808080' },
  { what: 'two of three bytes at the end', bytes: 'efbf' },
  { what: 'one of two bytes at the end', bytes: 'df' },
  { what: 'three of four bytes at the end', bytes: 'f48fbf' },
  { what: 'a prefix of a word, cut in a letter', bytes: 'cebae1bd' },
  { what: 'the byte fe', bytes: 'fe' },
  { what: 'the byte ff', bytes: 'ff' },
  { what: 'fe fe ff ff', bytes: 'fefeffff' },
  { what: 'an overlong slash in two bytes', bytes: 'c0af' },
  { what: 'an overlong slash in three bytes', bytes: 'e080af' },
  { what: 'an overlong slash in four bytes', bytes: 'f08080af' },
  { what: 'the longest overlong form of two bytes', bytes: 'c1bf' },
  { what: 'the longest overlong form of three bytes', bytes: 'e09fbf' },
  { what: 'the longest overlong form of four bytes', bytes: 'f08fbfbf' },
  { what: 'an overlong NUL', bytes: 'c080' },
  { what: 'the first high surrogate', bytes: 'eda080' },
  { what: 'the last high surrogate', bytes: 'edafbf' },
  { what: 'the first low surrogate', bytes: 'edb080' },
  { what: 'the last low surrogate', bytes: 'edbfbf' },
  { what: 'a pair of surrogates', bytes: 'eda080edb080' },
  { what: 'the first beyond Unicode, U+110000', bytes: 'f4908080' },
  { what: 'U+1FFFFF', bytes: 'f7bfbfbf' },
  { what: 'a word with a surrogate in it', bytes: `${word}eda080656469746564` },
  { what: 'a word with U+110000 in it', bytes: `${word}f4908080656469746564` },
]

describe('a text message (RFC 6455 §5.6, §8.1)', () => {
  it.each(valid)('UTF-8 is received, and returned with the same bytes: $what', async ({ bytes }) => {
    const peer = await Peer.meet()
    peer.write(text(hex(bytes)))
    const [answer, ...rest] = await peer.heard()
    expect(rest).toEqual([])
    expect(answer?.opcode).toBe(Opcode.text)
    expect(answer?.payload.toString('hex')).toBe(bytes)
  })

  it.each(valid)('UTF-8 may be cut into fragments anywhere: $what', async ({ bytes }) => {
    const peer = await Peer.meet()
    const whole = hex(bytes)
    const cuts = Array.from({ length: whole.length + 1 }, (_, i) => [whole.subarray(0, i), whole.subarray(i)])
    peer.write(...[...cuts, inPieces(whole, 1)].flatMap((parts) => fragments(Opcode.text, parts)))
    const answers = (await peer.heard()).map(({ payload }) => payload.toString('hex'))
    expect(answers).toEqual(Array.from({ length: cuts.length + 1 }, () => bytes))
  })

  it('every character of Unicode is received', async () => {
    const peer = await Peer.meet({ maxMessageSize: 8_000_000, maxBufferedBytes: 16_000_000 })
    let all = ''
    for (let code = 0; code <= 0x10ffff; code++) {
      if (code < 0xd800 || code > 0xdfff) all += String.fromCodePoint(code)
    }
    const whole = Buffer.from(all)
    peer.write(text(whole))
    const [answer] = await peer.heard()
    expect(answer?.payload.equals(whole)).toBe(true)
  })

  it.each(invalid)('text that is not UTF-8 fails with 1007: $what', async ({ bytes }) => {
    const peer = await Peer.meet()
    peer.write(text(hex(bytes)))
    await peer.fails(1007, 'WSHUB_ERR_INVALID_DATA')
  })

  it.each(invalid)(
    'text that is not UTF-8 fails with 1007 in fragments of a byte: $what',
    async ({ bytes }) => {
      const peer = await Peer.meet()
      peer.write(...fragments(Opcode.text, inPieces(hex(bytes), 1)))
      await peer.fails(1007, 'WSHUB_ERR_INVALID_DATA')
    },
  )

  it('text that is not UTF-8 does not become valid by what follows', async () => {
    const peer = await Peer.meet()
    peer.write(...fragments(Opcode.text, [hex('cebae1'), hex('ce'), hex('bdb9')]))
    await peer.fails(1007, 'WSHUB_ERR_INVALID_DATA')
  })

  it.each([
    { what: 'in the first fragment', bytes: 'ff' },
    { what: 'in a later one', bytes: `${word}f490` },
    { what: 'by a surrogate', bytes: `${word}eda0` },
    { what: 'by an overlong form', bytes: 'e080' },
  ])('text that cannot become UTF-8 fails at that byte, whatever follows: $what', async ({ bytes }) => {
    const peer = await Peer.meet()
    const [first, ...others] = inPieces(hex(bytes), 1)
    peer.write(wire({ opcode: Opcode.text, fin: false, ...(first && { payload: first }) }))
    for (const payload of others) {
      peer.write(ping('still open?'), wire({ opcode: Opcode.continuation, fin: false, payload }))
    }
    const pings = others.map(() => 'still open?')
    await peer.fails(1007, 'WSHUB_ERR_INVALID_DATA', {
      frames: pings.map((payload) => `pong ${payload}`),
      callbacks: pings.map((payload) => `ping ${payload}`),
    })
  })

  it('text that cannot become UTF-8 fails within a fragment, before that is complete', async () => {
    const peer = await Peer.meet()
    const frames = Buffer.concat(
      fragments(Opcode.text, [hex('cebae1'), Buffer.from('\xff and more', 'latin1')]),
    )
    await peer.writeBytewise(frames.subarray(0, -' and more'.length))
    await peer.fails(1007, 'WSHUB_ERR_INVALID_DATA')
  })

  it('text that is not UTF-8 fails after the answers to everything sent before it', async () => {
    const peer = await Peer.meet()
    peer.write(text('before'), wire({ opcode: Opcode.text, fin: false, payload: hex('ff') }))
    await peer.fails(1007, 'WSHUB_ERR_INVALID_DATA', {
      frames: ['text before'],
      callbacks: ['message before'],
    })
  })

  it('text may be cut by frames and packets anywhere, with control frames and other messages between', async () => {
    const peer = await Peer.meet()
    const whole = hex(valid.map(({ bytes }) => bytes).join(''))
    const parts = fragments(Opcode.text, inPieces(whole, 7)).flatMap((frame) => [frame, ping('x')])
    const long = binary(Buffer.alloc(300, 0xff))
    await peer.writeBytewise(long, ...parts, ...fragments(Opcode.binary, [hex('ff'), hex('fe')]), long)
    const answers = await peer.heard()
    const messages = answers.filter(({ opcode }) => opcode !== Opcode.pong)
    expect(messages.map(({ payload }) => payload.length)).toEqual([300, whole.length, 2, 300])
  })
})

describe('a binary message (RFC 6455 §5.6)', () => {
  it('a binary message need not be UTF-8, whole or in fragments', async () => {
    const peer = await Peer.meet()
    const all = Buffer.concat(invalid.map(({ bytes }) => hex(bytes)))
    peer.write(binary(all), ...fragments(Opcode.binary, inPieces(all, 1)))
    const answers = await peer.heard()
    expect(answers.map(({ opcode }) => opcode)).toEqual([Opcode.binary, Opcode.binary])
    expect(answers.every(({ payload }) => payload.equals(all))).toBe(true)
  })
})

describe('a ping (RFC 6455 §5.5.2)', () => {
  it('a ping need not be UTF-8', async () => {
    const peer = await Peer.meet()
    peer.write(wire({ opcode: Opcode.ping, payload: hex('fffe8000') }))
    expect((await peer.heard()).map(({ payload }) => payload.toString('hex'))).toEqual(['fffe8000'])
  })
})
