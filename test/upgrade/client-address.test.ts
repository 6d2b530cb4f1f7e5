import type { IncomingMessage } from 'node:http'
import { describe, expect, it } from 'vitest'
import {
  addressKey,
  addressRule,
  type ProxyHeader,
  secureRule,
  type TrustProxy,
} from '../../src/upgrade/client-address.ts'

/** The part of a request that a rule reads, from a TCP peer with these headers. */
function addressOf(
  trustProxy: TrustProxy,
  header: ProxyHeader,
  remoteAddress: string | undefined,
  headers: Record<string, string> = {},
): string | undefined {
  const req = { socket: { remoteAddress }, headers } as unknown as IncomingMessage // a rule reads nothing else
  return addressRule(trustProxy, header)(req)
}

describe('addressRule by X-Forwarded-For', () => {
  const read = (trust: TrustProxy, peer: string | undefined, value: string) =>
    addressOf(trust, 'x-forwarded-for', peer, { 'x-forwarded-for': value, forwarded: 'for=66.6.6.6' })

  it.each<[string, TrustProxy, string, string, string]>([
    ['nobody is trusted', false, '10.0.0.1', '1.1.1.1', '10.0.0.1'],
    ['no hop is trusted', 0, '10.0.0.1', '1.1.1.1', '10.0.0.1'],
    ['no address is trusted', [], '10.0.0.1', '1.1.1.1', '10.0.0.1'],
    ['all are trusted', true, '10.0.0.1', '1.1.1.1, 2.2.2.2', '1.1.1.1'],
    ['one hop is trusted', 1, '10.0.0.1', '1.1.1.1, 2.2.2.2', '2.2.2.2'],
    ['two hops are trusted', 2, '10.0.0.1', '1.1.1.1, 2.2.2.2', '1.1.1.1'],
    ['more hops are trusted than there are', 9, '10.0.0.1', '1.1.1.1, 2.2.2.2', '1.1.1.1'],
    ['a network is trusted', '10.0.0.0/8', '10.0.0.1', '1.1.1.1, 2.2.2.2, 10.9.9.9', '2.2.2.2'],
    ['networks are listed', '10.0.0.0/8, 2.2.2.2', '10.0.0.1', '1.1.1.1, 2.2.2.2', '1.1.1.1'],
    ['a name of networks is trusted', ['loopback'], '::1', '1.1.1.1', '1.1.1.1'],
    ['the peer is an IPv4 address in an IPv6 one', ['10.0.0.1'], '::ffff:10.0.0.1', '1.1.1.1', '1.1.1.1'],
    ['another peer is trusted', ['10.0.0.2'], '10.0.0.1', '1.1.1.1', '10.0.0.1'],
    ['a function trusts by distance', (_a, hop) => hop < 1, '10.0.0.1', '1.1.1.1, 2.2.2.2', '2.2.2.2'],
    ['a function trusts by address', (a) => a.startsWith('10.'), '10.0.0.1', '1.1.1.1', '1.1.1.1'],
    ['the header is empty', true, '10.0.0.1', '', '10.0.0.1'],
    ['the header has empty items', true, '10.0.0.1', ' ,, 1.1.1.1 ,', '1.1.1.1'],
    ['an address has a port', 1, '10.0.0.1', '2.2.2.2:4711', '2.2.2.2'],
    ['an IPv6 address is bare', 1, '10.0.0.1', '2001:db8::1', '2001:db8::1'],
    ['an IPv6 address has a port', 1, '10.0.0.1', '[2001:db8::1]:4711', '2001:db8::1'],
    ['an IPv6 address is in brackets', 1, '10.0.0.1', '[2001:db8::1]', '2001:db8::1'],
    ['an address begins with something else', 1, '10.0.0.1', 'x2.2.2.2:80', 'x2.2.2.2:80'],
    ['an address ends with something else', 1, '10.0.0.1', '2.2.2.2:80x', '2.2.2.2:80x'],
    ['a port is missing', 1, '10.0.0.1', '2.2.2.2:', '2.2.2.2:'],
    ['brackets begin with something else', 1, '10.0.0.1', 'x[::1]:80', 'x[::1]:80'],
    ['brackets end with something else', 1, '10.0.0.1', '[::1]:80x', '[::1]:80x'],
    ['brackets are empty', 1, '10.0.0.1', '[]:80', '[]:80'],
    ['what a client has written is no address', 2, '10.0.0.1', 'evil, 2.2.2.2', 'evil'],
    ['what a client has written stands before it', ['10.0.0.1'], '10.0.0.1', '10.0.0.1, evil', 'evil'],
  ])('when %s', (_what, trust, peer, value, expected) => {
    expect(read(trust, peer, value)).toBe(expected)
  })

  it('is undefined for a socket without an address, unless it may stand for a proxy', () => {
    expect(read(false, undefined, '1.1.1.1')).toBeUndefined()
    expect(read('loopback', undefined, '1.1.1.1')).toBeUndefined()
    expect(read(1, undefined, '1.1.1.1')).toBe('1.1.1.1')
  })

  it('never reads Forwarded', () => {
    expect(addressOf(true, 'x-forwarded-for', '10.0.0.1', { forwarded: 'for=66.6.6.6' })).toBe('10.0.0.1')
  })
})

describe('addressRule by Forwarded', () => {
  const read = (value: string, trust: TrustProxy = 1) =>
    addressOf(trust, 'forwarded', '10.0.0.1', { forwarded: value, 'x-forwarded-for': '66.6.6.6' })

  it.each([
    ['for=1.1.1.1', '1.1.1.1'],
    ['For=1.1.1.1;Proto=https;By=10.0.0.1', '1.1.1.1'],
    ['proto=https;for=1.1.1.1', '1.1.1.1'],
    ['proto=https; for="1.1.1.1:4711" ; by=_x', '1.1.1.1'],
    ['for="[2001:db8::1]:4711"', '2001:db8::1'],
    ['for="[2001:db8::1]"', '2001:db8::1'],
    ['for=2.2.2.2, for=1.1.1.1', '1.1.1.1'],
    ['for=2.2.2.2,for=1.1.1.1;', '1.1.1.1'],
    ['for=unknown', 'unknown'],
    ['for=_hidden', '_hidden'],
    ['for="_hidden:_port"', '_hidden:_port'],
    ['for=2.2.2.2, proto=https', 'unknown'],
    ['', '10.0.0.1'],
    [',, ,', '10.0.0.1'],
    ['for=1.1.1.1;host="x;for=6.6.6.6"', '1.1.1.1'],
    ['for=1.1.1.1;host="x, for=6.6.6.6"', '1.1.1.1'],
    ['for=1.1.1.1;host="\\", for=6.6.6.6"', '1.1.1.1'],
    ['for=";for=6.6.6.6', 'unknown'],
    ['for="6.6.6.6, for=1.1.1.1', 'unknown'],
    ['nonsense', 'unknown'],
    ['for =1.1.1.1', 'unknown'],
    [' \tfor=1.1.1.1\t ', '1.1.1.1'],
    ['for=', 'unknown'],
    ['for=""', 'unknown'],
    [';', '10.0.0.1'],
    ['for=1.1.1.1; ;', '1.1.1.1'],
    ['for=1.1.1.1 by=2.2.2.2', 'unknown'],
    ['for="1.1.1.1"x', 'unknown'],
  ])('reads %s', (value, expected) => {
    expect(read(value)).toBe(expected)
  })

  it('continues after trusted hops', () => {
    expect(read('for=1.1.1.1, for=10.0.0.9, for="10.0.0.8:1"', '10.0.0.0/8')).toBe('1.1.1.1')
  })

  it('never reads X-Forwarded-For', () => {
    expect(addressOf(true, 'forwarded', '10.0.0.1', { 'x-forwarded-for': '66.6.6.6' })).toBe('10.0.0.1')
  })

  it('is not read for a peer that is not trusted', () => {
    const headers = {
      get forwarded(): string {
        throw new Error('the header was read')
      },
    }
    const req = { socket: { remoteAddress: '10.0.0.1' }, headers } as unknown as IncomingMessage // a rule reads nothing else
    expect(addressRule('192.168.0.0/16', 'forwarded')(req)).toBe('10.0.0.1')
    expect(() => addressRule('10.0.0.0/8', 'forwarded')(req)).toThrow('the header was read')
  })
})

describe('addressRule', () => {
  it('calls a function for each hop, from the TCP peer on, until one is not trusted', () => {
    const asked: [string, number][] = []
    const trust = (address: string, hop: number) => {
      asked.push([address, hop])
      return hop < 2
    }
    const headers = { 'x-forwarded-for': '1.1.1.1, 2.2.2.2, 3.3.3.3' }
    expect(addressOf(trust, 'x-forwarded-for', undefined, headers)).toBe('2.2.2.2')
    expect(asked).toEqual([
      ['', 0],
      ['3.3.3.3', 1],
      ['2.2.2.2', 2],
    ])
  })

  it('throws errors that frameworks can read, whatever the function throws', () => {
    const trust = () => {
      throw Symbol('none')
    }
    expect(() => addressOf(trust, 'forwarded', '10.0.0.1')).toThrow(
      expect.objectContaining({ message: expect.stringContaining('the option trustProxy') }),
    )
  })

  it.each([['300.1.1.1'], ['10.0.0.0/99'], [['somewhere']]])('refuses %o', (trustProxy) => {
    expect(() => addressRule(trustProxy, 'forwarded')).toThrow(
      expect.objectContaining({
        code: 'WSHUB_ERR_INVALID_OPTION',
        message: expect.stringContaining('trustProxy takes addresses and networks, not '),
        cause: expect.anything(),
      }),
    )
  })
})

describe('secureRule', () => {
  const isSecure = (
    trustProxy: TrustProxy,
    header: ProxyHeader,
    headers: Record<string, string>,
    remoteAddress = '10.0.0.1',
  ) => secureRule(trustProxy, header)({ socket: { remoteAddress }, headers } as unknown as IncomingMessage) // a rule reads nothing else

  it.each<[TrustProxy, string | undefined, boolean]>([
    [1, 'https', true],
    [1, 'HTTPS', true],
    [1, 'wss', true],
    [1, 'https, http', true],
    [1, 'http, https', true],
    [1, 'http', false],
    [1, '', false],
    [1, undefined, false],
    [1, 'httpsx', false],
    [1, 'xhttps', false],
    [1, ' , https', true],
    [false, 'https', false],
    ['10.0.0.0/8', 'https', true],
    ['192.168.0.0/16', 'https', false],
  ])('yields with trustProxy %j for X-Forwarded-Proto %j: %j', (trustProxy, proto, expected) => {
    const headers = {
      ...(proto === undefined ? {} : { 'x-forwarded-proto': proto }),
      forwarded: 'proto=https',
    }
    const others = { 'x-forwarded-proto': proto ?? '', forwarded: '' }
    expect(isSecure(trustProxy, 'x-forwarded-for', headers)).toBe(expected)
    expect(isSecure(trustProxy, 'forwarded', others)).toBe(false) // the other header is never read
  })

  it.each([
    ['for=1.1.1.1;proto=https', true],
    ['proto="https";for=1.1.1.1', true],
    ['for=1.1.1.1;proto=https, for=10.0.0.2;proto=http', true],
    ['for=1.1.1.1;proto=http', false],
    ['for=1.1.1.1;host="a;proto=https"', false],
    ['for="1.1.1.1;proto=https', false],
    ['for=1.1.1.1', false],
    ['', false],
  ])('yields for Forwarded %j: %j', (forwarded, expected) => {
    expect(isSecure(1, 'forwarded', { forwarded })).toBe(expected)
  })

  it('calls a function for the TCP peer only', () => {
    const asked: [string, number][] = []
    const rule = secureRule((address, hop) => {
      asked.push([address, hop])
      return true
    }, 'x-forwarded-for')
    const headers = { 'x-forwarded-for': '1.1.1.1', 'x-forwarded-proto': 'https' }
    const from = (remoteAddress: string | undefined) =>
      rule({ socket: { remoteAddress }, headers } as unknown as IncomingMessage) // a rule reads nothing else
    expect([from('10.0.0.1'), from(undefined)]).toEqual([true, true])
    expect(asked).toEqual([
      ['10.0.0.1', 0],
      ['', 0],
    ])
  })
})

describe('addressKey', () => {
  it.each([
    ['192.0.2.7', '192.0.2.7'],
    ['::ffff:192.0.2.7', '192.0.2.7'],
    ['::FFFF:192.0.2.7', '192.0.2.7'],
    ['0:0:0:0:0:ffff:192.0.2.7', '192.0.2.7'],
    ['::ffff:c000:207', '192.0.2.7'],
    ['::ffff:1.2.3.4', '1.2.3.4'],
    ['1::ffff:1.2.3.4', '1:0:0:0::/64'],
    ['::1:ffff:1.2.3.4', '0:0:0:0::/64'],
    ['::fffe:1.2.3.4', '0:0:0:0::/64'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:DB8:0001:2::', '2001:db8:1:2::/64'],
    ['2001:db8::6', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['::', '0:0:0:0::/64'],
    ['a::b:c:d:e:f:1', 'a:0:b:c::/64'],
    ['::1:2:3:4:5:6:7', '0:1:2:3::/64'],
    ['64:ff9b::192.0.2.7', '64:ff9b:0:0::/64'],
    ['1:2:3:4:5:6:192.0.2.7', '1:2:3:4::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['unknown', 'unknown'],
    ['', ''],
  ])('counts %s as %s', (address, key) => {
    expect(addressKey(address)).toBe(key)
  })
})
