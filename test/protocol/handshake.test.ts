import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import { Handshake } from 'wshub'
import { KEY, serve } from '../support/hub-server.ts'

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
      [{ 'sec-websocket-protocol': 'chat' }, undefined],
      [{ 'sec-websocket-protocol': 'chat, bearer.abc' }, 'abc'],
      [{ 'sec-websocket-protocol': 'bearer.abc.def , chat' }, 'abc.def'],
      [{ 'sec-websocket-protocol': 'bearer., bearer.abc' }, 'abc'],
      [{ 'sec-websocket-protocol': 'bearer.' }, undefined],
      [{ authorization: 'Bearer one', 'sec-websocket-protocol': 'bearer.two' }, 'one'],
      [{ authorization: 'Basic one', 'sec-websocket-protocol': 'bearer.two' }, 'two'],
    ])('of %o is %s', (headers, token) => {
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

    it('refuses other methods and HTTP/1.0', () => {
      expect(Handshake.validateRequest(request({}, 'POST'))).toBe(false)
      expect(Handshake.validateRequest(request({}, 'GET', '1.0'))).toBe(false)
    })
  })

  describe('.createResponse', () => {
    it('returns the response that a hub sends', async () => {
      const init = { protocol: 'chat', headers: { 'Set-Cookie': ['a=1', 'b=2'], 'X-Number': 7 } }
      const { connectRaw } = await serve({}, {}, init)
      const { client, connection } = await connectRaw(['Sec-WebSocket-Protocol: other, chat'])
      expect(client.response).toBe(Handshake.createResponse(KEY, init))
      expect(connection.protocol).toBe('chat')
    })

    it('ignores headers that would replace those of the handshake', () => {
      const headers = {
        'Sec-WebSocket-Accept': 'x',
        connection: 'close',
        'Content-Length': 5,
        'Sec-WebSocket-Extensions': 'x',
      }
      expect(Handshake.createResponse(KEY, { headers })).toBe(Handshake.createResponse(KEY))
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
