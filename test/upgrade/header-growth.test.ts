import type { IncomingMessage } from 'node:http'
import { describe, expect, it } from 'vitest'
import { Handshake } from 'wshub'
import { isWebSocketUpgrade } from '../../src/protocol/handshake.ts'
import { acceptableOffers } from '../../src/protocol/permessage-deflate.ts'
import { addressKey, addressRule, secureRule } from '../../src/upgrade/client-address.ts'
import { hostRule, originRule } from '../../src/upgrade/origin.ts'

/** Four times as long as all headers that Node accepts. */
const LENGTH = 65_536
/** The limit for the CPU time: a header is read in under 50 ms, while quadratic code took seconds. */
const LIMIT_MS = 1_000

const asRequest = (value: string, names: readonly string[]) =>
  ({
    method: 'GET',
    socket: { remoteAddress: '10.0.0.1' },
    headers: Object.fromEntries(names.map((name) => [name, value])),
  }) as unknown as IncomingMessage // nothing else is read

/** All functions that match a header of a client with a pattern, or split it. */
const readers: { what: string; read: (value: string) => unknown }[] = [
  {
    what: 'Forwarded',
    read: (value) => addressRule(true, 'forwarded')(asRequest(value, ['forwarded'])),
  },
  {
    what: 'X-Forwarded-For',
    read: (value) => addressRule(true, 'x-forwarded-for')(asRequest(value, ['x-forwarded-for'])),
  },
  {
    what: 'X-Forwarded-Proto',
    read: (value) => secureRule(true, 'x-forwarded-for')(asRequest(value, ['x-forwarded-proto'])),
  },
  { what: 'an address', read: addressKey },
  { what: 'Origin', read: (value) => originRule(['https://*.example.com'])(value, value, false) },
  { what: 'Host', read: (value) => hostRule(['*.example.com'])(value) },
  {
    what: 'Authorization and Sec-WebSocket-Protocol',
    read: (value) => Handshake.bearerToken(asRequest(value, ['authorization', 'sec-websocket-protocol'])),
  },
  { what: 'Sec-WebSocket-Extensions', read: acceptableOffers },
  {
    what: 'Upgrade and Connection',
    read: (value) => isWebSocketUpgrade(asRequest(value, ['upgrade', 'connection'])),
  },
  {
    what: 'Sec-WebSocket-Key',
    read: (value) =>
      Handshake.validateRequest({
        ...asRequest(value, ['sec-websocket-key']),
        headers: {
          upgrade: 'websocket',
          connection: 'upgrade',
          'sec-websocket-version': '13',
          'sec-websocket-key': value,
        },
      } as unknown as IncomingMessage), // all that is looked at
  },
]

const starts = ['', 'for="', 'Bearer ', 'http://', 'permessage-deflate; a']
const parts = [
  ' ',
  '\t',
  'a',
  '1',
  '=',
  '"',
  '\\"',
  ',',
  ' ;',
  '[',
  ':',
  'f:',
  '1.',
  'a=',
  'a.',
  '*.',
  ';for=a',
]
const ends = ['', '!']

describe('A header crafted to be slow to parse', () => {
  it.each(readers)('costs in proportion to its length: $what', ({ read }) => {
    for (const start of starts) {
      for (const part of parts) {
        for (const end of ends) {
          const value = start + part.repeat(LENGTH / part.length) + end
          const before = process.cpuUsage()
          read(value)
          const ms = process.cpuUsage(before).user / 1_000
          expect(ms, JSON.stringify({ start, part, end })).toBeLessThan(LIMIT_MS)
        }
      }
    }
  })
})
