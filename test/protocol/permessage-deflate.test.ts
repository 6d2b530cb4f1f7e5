import { describe, expect, it } from 'vitest'
import {
  acceptableOffers,
  mayOfferDeflate,
  negotiatedWindowBits,
} from '../../src/protocol/permessage-deflate.ts'

describe('negotiatedWindowBits', () => {
  it.each([
    { line: undefined, bits: 0 },
    { line: 'Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover', bits: 15 },
    { line: 'sec-websocket-extensions: permessage-deflate; server_max_window_bits=9', bits: 9 },
    { line: 'Sec-WebSocket-Extensions: x-other, permessage-deflate; server_max_window_bits=12', bits: 12 },
    { line: 'X-Other: permessage-deflate', bits: 0 },
    { line: 'X-Sec-WebSocket-Extensions: permessage-deflate', bits: 0 },
    { line: 'Sec-WebSocket-Extensions: x-other', bits: 0 },
  ])('reads $bits from $line', ({ line, bits }) => {
    expect(
      negotiatedWindowBits(['HTTP/1.1 101 Switching Protocols', ...(line === undefined ? [] : [line])]),
    ).toBe(bits)
  })
})

describe('mayOfferDeflate', () => {
  it.each([
    [undefined, false],
    ['x-other', false],
    ['x-other, permessage-deflate; client_max_window_bits', true],
  ])('of %o is %o', (header, expected) => {
    expect(mayOfferDeflate(header)).toBe(expected)
  })
})

describe('acceptableOffers', () => {
  it.each([
    'permessage-deflate',
    'permessage-deflate; server_no_context_takeover; client_no_context_takeover',
    'permessage-deflate; client_max_window_bits',
    'permessage-deflate; client_max_window_bits="8"; server_max_window_bits = 15',
    'x-other; a=b',
    'permessage-deflate; client_max_window_bits, x-other, permessage-deflate',
    'permessage-deflate; ===',
  ])('keeps %s', (header) => {
    expect(acceptableOffers(header)).toBe(header)
  })

  it.each([
    'permessage-deflate; unknown',
    'permessage-deflate; server_no_context_takeover=1',
    'permessage-deflate; server_max_window_bits',
    'permessage-deflate; server_max_window_bits=7',
    'permessage-deflate; client_max_window_bits=16',
    'permessage-deflate; client_max_window_bits=80',
    'permessage-deflate; client_max_window_bits=18',
    'permessage-deflate; client_max_window_bits=010',
    'permessage-deflate; client_max_window_bits; client_max_window_bits=9',
  ])('leaves out %s', (offer) => {
    expect(acceptableOffers(offer)).toBeUndefined()
    expect(acceptableOffers(`${offer}, permessage-deflate`)).toBe('permessage-deflate')
  })
})
