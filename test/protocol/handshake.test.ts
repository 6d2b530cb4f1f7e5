import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import {
  checkHandshake,
  extraHeaderLines,
  Handshake,
  hasBody,
  isWebSocketUpgrade,
  listIncludes,
  readHeaders,
} from '../../src/protocol/handshake.ts'

/** The key of RFC 6455 §1.3. */
const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='

function request(
  headers: Record<string, string | undefined> = {},
  method = 'GET',
  version = '1.1',
): IncomingMessage {
  const req = new IncomingMessage(new Socket())
  req.method = method
  req.httpVersion = version
  req.httpVersionMajor = Number(version[0])
  req.httpVersionMinor = Number(version[2])
  const all = {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': KEY,
    ...headers,
  }
  for (const [name, value] of Object.entries(all)) if (value !== undefined) req.headers[name] = value
  return req
}

describe('Handshake', () => {
  describe('.bearerToken', () => {
    it.each([
      [{}, undefined],
      [{ authorization: 'Bearer abc.DEF-1_2~+/=' }, 'abc.DEF-1_2~+/='],
      [{ authorization: 'bearer   abc' }, 'abc'],
      [{ authorization: 'Bearer' }, undefined],
      [{ authorization: 'Bearer a b' }, undefined],
      [{ authorization: 'Basic abc' }, undefined],
      [{ authorization: 'Not a Bearer abc' }, undefined],
      [{ authorization: 'Bearer abc, Basic def' }, undefined],
      [{ 'sec-websocket-protocol': 'a.bearer.abc' }, undefined],
      [{ 'sec-websocket-protocol': 'chat' }, undefined],
      [{ 'sec-websocket-protocol': 'chat, bearer.abc' }, 'abc'],
      [{ 'sec-websocket-protocol': 'bearer.abc.def , chat' }, 'abc.def'],
      [{ 'sec-websocket-protocol': 'bearer., bearer.abc' }, 'abc'],
      [{ 'sec-websocket-protocol': 'bearer.' }, undefined],
      [{ authorization: 'Bearer one', 'sec-websocket-protocol': 'bearer.two' }, 'one'],
      [{ authorization: 'Basic one', 'sec-websocket-protocol': 'bearer.two' }, 'two'],
    ])('returns for %o the token %s', (headers, token) => {
      expect(Handshake.bearerToken(request(headers))).toBe(token)
    })
  })

  it('.createResponse does not echo a bearer token', () => {
    expect(Handshake.createResponse(KEY, { protocol: 'bearer.abc' })).not.toContain('abc')
    expect(Handshake.createResponse(KEY, { protocol: 'chat' })).toContain('Sec-WebSocket-Protocol: chat')
  })

  it('.generateAcceptKey returns the key of RFC 6455 §1.3', () => {
    expect(Handshake.generateAcceptKey(KEY)).toBe('s3pPLMBiTxaQ9kYGzzhZRbK+xOo=')
  })

  describe('.validateRequest', () => {
    it.each([
      [{}],
      [{ upgrade: 'WebSocket' }],
      [{ connection: 'keep-alive , UPGRADE' }],
      [{ upgrade: 'h2c,  websocket' }],
    ])('accepts %o', (headers) => {
      expect(Handshake.validateRequest(request(headers))).toBe(true)
    })

    it.each([
      [{ upgrade: undefined }],
      [{ upgrade: 'websockets' }],
      [{ connection: undefined }],
      [{ connection: 'close' }],
      [{ 'sec-websocket-version': undefined }],
      [{ 'sec-websocket-version': '8' }],
      [{ 'sec-websocket-version': '13, 8' }],
      [{ 'sec-websocket-key': undefined }],
      [{ 'sec-websocket-key': 'short==' }],
      [{ 'sec-websocket-key': `${KEY}, ${KEY}` }],
    ])('refuses %o', (headers) => {
      expect(Handshake.validateRequest(request(headers))).toBe(false)
    })

    it('accepts any version from HTTP/1.1 on', () => {
      expect(Handshake.validateRequest(request({}, 'GET', '1.1'))).toBe(true)
      expect(Handshake.validateRequest(request({}, 'GET', '2.0'))).toBe(true)
    })

    it('refuses other methods and HTTP/1.0', () => {
      expect(Handshake.validateRequest(request({}, 'POST'))).toBe(false)
      expect(Handshake.validateRequest(request({}, 'GET', '1.0'))).toBe(false)
    })
  })

  describe('.createResponse', () => {
    it('returns the response of RFC 6455 §1.3, from the status line to the empty line', () => {
      const lines = [
        'HTTP/1.1 101 Switching Protocols',
        'Upgrade: websocket',
        'Connection: Upgrade',
        'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=',
      ]
      expect(Handshake.createResponse(KEY)).toBe([...lines, '', ''].join('\r\n'))
      expect(Handshake.createResponse(KEY, { protocol: '' })).toBe([...lines, '', ''].join('\r\n'))
      expect(Handshake.createResponse(KEY, { protocol: 'chat', headers: { 'X-A': 'b' } })).toBe(
        [...lines, 'Sec-WebSocket-Protocol: chat', 'X-A: b', '', ''].join('\r\n'),
      )
    })

    it('refuses an unknown option', () => {
      const init: object = { protocl: 'chat' }
      expect(() => Handshake.createResponse(KEY, init)).toThrow(
        expect.objectContaining({
          code: 'WSHUB_ERR_INVALID_OPTION',
          message: expect.stringContaining('an option of a response'),
        }),
      )
    })

    it.each([
      'Sec-WebSocket-Accept',
      'sec-websocket-extensions',
      'Sec-WebSocket-Protocol',
      'connection',
      'Upgrade',
      'Keep-Alive',
      'Content-Length',
      'content-type',
      'Content-Encoding',
      'Transfer-Encoding',
      'Trailer',
      'ETag',
    ])('refuses the header %s, which the 101 has already or cannot have', (name) => {
      expect(() => Handshake.createResponse(KEY, { headers: { 'X-A': 'b', [name]: '5' } })).toThrow(
        expect.objectContaining({
          code: 'WSHUB_ERR_INVALID_HEADER',
          message: `the header "${name}" cannot be added to the 101`,
        }),
      )
    })

    it.each([
      [{ headers: { a: 'b\r\nc: d' } }],
      [{ headers: { a: 'b\nc' } }],
      [{ headers: { 'a\r\nb': 'c' } }],
      [{ headers: { 'a b': 'c' } }],
      [{ headers: { a: ['ok', 'b\0'] } }],
      [{ protocol: 'chat\r\nc: d' }],
    ])('refuses %o', (init) => {
      expect(() => Handshake.createResponse(KEY, init)).toThrow(
        expect.objectContaining({ code: 'WSHUB_ERR_INVALID_HEADER' }),
      )
    })
  })
})

describe('checkHandshake', () => {
  it('accepts a handshake', () => {
    expect(() => checkHandshake(request())).not.toThrow()
  })

  it.each([
    [request({ upgrade: undefined }), 'NOT_UPGRADE', 426, 'the request must upgrade to websocket'],
    [request({ connection: 'close' }), 'NOT_UPGRADE', 426, 'the request must upgrade to websocket'],
    [request({ upgrade: undefined }, 'POST'), 'NOT_UPGRADE', 426, 'the request must upgrade to websocket'],
    [request({}, 'POST'), 'METHOD', 405, 'a handshake is a GET, not "POST"'],
    [request({ 'content-length': '1' }, 'POST'), 'METHOD', 405, 'a handshake is a GET, not "POST"'],
    [request({ 'content-length': '1' }), 'BAD_HANDSHAKE', 400, 'a handshake has no body'],
    [request({ 'transfer-encoding': 'chunked' }), 'BAD_HANDSHAKE', 400, 'a handshake has no body'],
    [request({}, 'GET', '1.0'), 'BAD_HANDSHAKE', 400, 'a handshake needs HTTP/1.1'],
    [request({ 'sec-websocket-version': '8' }), 'VERSION', 426, 'Sec-WebSocket-Version must be 13'],
    [request({ 'sec-websocket-key': `${KEY} ` }), 'BAD_HANDSHAKE', 400, 'must be 16 bytes in base64'],
    [request({ 'sec-websocket-key': undefined }), 'BAD_HANDSHAKE', 400, 'must be 16 bytes in base64'],
  ])('names the flaw of a request: case %#', (req, code, status, message) => {
    expect(() => checkHandshake(req)).toThrow(
      expect.objectContaining({
        code: `WSHUB_ERR_${code}`,
        status,
        message: expect.stringContaining(message),
      }),
    )
  })
})

describe('isWebSocketUpgrade', () => {
  it.each([
    [{}, true],
    [{ upgrade: 'h2c' }, false],
    [{ connection: 'close' }, false],
  ])('of %o is %o', (headers, expected) => {
    expect(isWebSocketUpgrade(request(headers))).toBe(expected)
  })
})

describe('hasBody', () => {
  it.each([
    [{}, false],
    [{ 'content-length': '0' }, false],
    [{ 'content-length': '1' }, true],
    [{ 'transfer-encoding': 'chunked' }, true],
    [{ 'content-length': '0', 'transfer-encoding': 'chunked' }, true],
  ])('of %o is %o', (headers, expected) => {
    expect(hasBody(request(headers))).toBe(expected)
  })
})

describe('listIncludes', () => {
  it.each([
    [undefined, false],
    ['', false],
    ['upgrade', true],
    ['keep-alive,UPGRADE', true],
    [' Upgrade\t, close', true],
    ['upgrades, an upgrade', false],
  ])('finds "upgrade" in %o: %o', (header, expected) => {
    expect(listIncludes(header, 'upgrade')).toBe(expected)
  })
})

describe('extraHeaderLines', () => {
  it('writes a line for each value', () => {
    const headers = { 'X-Text': 'a', 'X-Number': 7, 'X-List': ['b', 'c'], 'X-Empty': [], 'X-None': undefined }
    expect(extraHeaderLines(headers)).toEqual(['X-Text: a', 'X-Number: 7', 'X-List: b', 'X-List: c'])
    expect(extraHeaderLines()).toEqual([])
    expect(extraHeaderLines(undefined, {})).toEqual([])
  })

  it('replaces headers of earlier sources, in any case', () => {
    const lines = extraHeaderLines(
      { 'X-One': '1', 'x-two': '2' },
      { 'x-ONE': ['3', '4'], 'X-Two': undefined },
    )
    expect(lines).toEqual(['x-ONE: 3', 'x-ONE: 4'])
  })

  it('adds cookies to those of earlier sources, equal ones once', () => {
    expect(
      extraHeaderLines(
        { 'set-cookie': 'a=1' },
        { 'Set-Cookie': ['b=2', 'c=3'] },
        { 'SET-COOKIE': undefined },
        { 'Set-Cookie': ['c=3', 'a=1'] },
        { 'Set-Cookie': 4 },
      ),
    ).toEqual(['Set-Cookie: a=1', 'Set-Cookie: b=2', 'Set-Cookie: c=3', 'Set-Cookie: 4'])
  })

  it.each([
    'Sec-WebSocket-Protocol',
    'Connection',
    'Upgrade',
    'Keep-Alive',
    'Transfer-Encoding',
    'Content-Length',
    'Content-Type',
    'Content-Encoding',
    'Trailer',
    'ETag',
  ])('leaves out %s, and no header with a longer name', (name) => {
    const longer = { [`X-${name}`]: 'a', [`${name}-X`]: 'b', [name]: 'c' }
    const kept = name.startsWith('Sec-WebSocket-') ? [`X-${name}: a`] : [`X-${name}: a`, `${name}-X: b`]
    expect(extraHeaderLines(longer)).toEqual(kept)
  })

  it('names the header that cannot be sent, with the cause', () => {
    expect(() => extraHeaderLines({ 'X-Bad': 'a\nb' })).toThrow(
      expect.objectContaining({
        code: 'WSHUB_ERR_INVALID_HEADER',
        message: expect.stringContaining('the header "X-Bad" cannot be sent'),
        cause: expect.any(Error),
      }),
    )
  })
})

describe('readHeaders', () => {
  it('returns a copy of the headers, and none for undefined', () => {
    const headers = { 'X-Text': 'a', 'X-Number': 7, 'X-List': ['b', 'c'], 'X-Empty': [] }
    expect(readHeaders(headers)).toEqual(headers)
    expect(readHeaders(headers)).not.toBe(headers)
    expect(readHeaders(undefined)).toBeUndefined()
    const none: object = { 'X-None': undefined }
    expect(readHeaders({ ...none })).toEqual(none)
  })

  // As JavaScript may pass it.
  const read = (headers: unknown) => readHeaders(headers as undefined)

  it.each([
    [null],
    ['X-A: b'],
    [7],
    [['X-A', 'b']],
    [new Map([['X-A', 'b']])],
    [new Headers({ 'X-A': 'b' })],
  ])('refuses %o, which is no plain object', (headers) => {
    expect(() => read(headers)).toThrow(
      expect.objectContaining({
        code: 'WSHUB_ERR_INVALID_OPTION',
        message: expect.stringMatching(/headers.* is a plain object of headers/),
      }),
    )
  })

  it.each([[null], [true], [{}], [() => {}], [[7]], [['a', 7]], [[undefined]]])(
    'refuses the value %o',
    (value) => {
      expect(() => read({ 'X-Fine': 'a', 'X-Bad': value })).toThrow(
        expect.objectContaining({
          code: 'WSHUB_ERR_INVALID_HEADER',
          message: expect.stringContaining('the header "X-Bad" is a string, a number or an array of strings'),
        }),
      )
    },
  )
})
