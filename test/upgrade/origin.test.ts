import { describe, expect, it } from 'vitest'
import { hostRule, originRule } from '../../src/upgrade/origin.ts'

describe('originRule', () => {
  const list = [
    'https://app.example.com',
    'https://*.example.org',
    'http://[::1]:8080',
    'https://Shop.Example.NET:443',
  ]
  it.each([
    { origin: undefined, host: 'a.com', allowed: [], admits: true },
    { origin: 'https://a.com', host: 'a.com', allowed: [], admits: true },
    { origin: 'https://A.com', host: 'a.COM', allowed: [], admits: true },
    { origin: 'https://a.com:443', host: 'a.com', allowed: [], admits: true },
    { origin: 'http://a.com', host: 'a.com:80', allowed: [], admits: true },
    { origin: 'http://a.com:8080', host: 'a.com:8080', allowed: [], admits: true },
    { origin: 'http://[::1]:8080', host: '[::1]:8080', allowed: [], admits: true },
    { origin: 'http://a.com:8080', host: 'a.com', allowed: [], admits: false },
    { origin: 'https://a.com:80', host: 'a.com', allowed: [], admits: false },
    { origin: 'https://b.com', host: 'a.com', allowed: [], admits: false },
    { origin: 'https://a.com', host: undefined, allowed: [], admits: false },
    { origin: 'null', host: 'null', allowed: [], admits: false },
    { origin: '', host: '', allowed: [], admits: false },
    { origin: 'null', host: 'a.com', allowed: ['null'], admits: true },
    { origin: 'null', host: 'a.com', allowed: ['*'], admits: true },
    { origin: 'https://evil.com', host: 'a.com', allowed: ['*'], admits: true },
    { origin: 'https://app.example.com', host: 'a.com', allowed: list, admits: true },
    { origin: 'HTTPS://APP.EXAMPLE.COM', host: 'a.com', allowed: list, admits: true },
    { origin: 'https://app.example.com:443', host: 'a.com', allowed: list, admits: true },
    { origin: 'https://shop.example.net', host: 'a.com', allowed: list, admits: true },
    { origin: 'https://x.example.org', host: 'a.com', allowed: list, admits: true },
    { origin: 'https://y.x.example.org', host: 'a.com', allowed: list, admits: true },
    { origin: 'http://[::1]:8080', host: 'a.com', allowed: list, admits: true },
    { origin: 'http://[::1]', host: 'a.com', allowed: list, admits: false },
    { origin: 'http://app.example.com', host: 'a.com', allowed: list, admits: false },
    { origin: 'https://app.example.com:8443', host: 'a.com', allowed: list, admits: false },
    { origin: 'https://app.example.com.evil.com', host: 'a.com', allowed: list, admits: false },
    { origin: 'https://evilapp.example.com', host: 'a.com', allowed: list, admits: false },
    { origin: 'https://example.org', host: 'a.com', allowed: list, admits: false },
    { origin: 'https://evilexample.org', host: 'a.com', allowed: list, admits: false },
    { origin: 'https://x.example.org.evil.com', host: 'a.com', allowed: list, admits: false },
    { origin: 'https://x.example.org:8443', host: 'a.com', allowed: list, admits: false },
    { origin: 'https://*.example.org', host: 'a.com', allowed: list, admits: false },
    { origin: 'https://evil.com/.example.org', host: 'a.com', allowed: list, admits: false },
    { origin: 'https://evil.com#.example.org', host: 'a.com', allowed: list, admits: false },
    { origin: 'https://user@x.example.org', host: 'a.com', allowed: list, admits: false },
    { origin: 'https://evil.com, https://app.example.com', host: 'a.com', allowed: list, admits: false },
    { origin: 'https://evil.com\\.example.org', host: 'a.com', allowed: list, admits: false },
  ])('$origin at $host with $allowed: $admits', ({ origin, host, allowed, admits }) => {
    expect(originRule(allowed)(origin, host, false)).toBe(admits)
  })
  it.each([
    { origin: 'https://a.com', isSecure: true, admits: true },
    { origin: 'https://a.com', isSecure: false, admits: true }, // a proxy may have ended TLS
    { origin: 'http://a.com', isSecure: false, admits: true },
    { origin: 'http://a.com', isSecure: true, admits: false },
    { origin: 'ftp://a.com', isSecure: false, admits: false },
    { origin: 'ws://a.com', isSecure: false, admits: false },
    { origin: 'wss://a.com', isSecure: true, admits: false },
    { origin: 'chrome-extension://a.com', isSecure: true, admits: false },
    { origin: 'moz-extension://a.com', isSecure: false, admits: false },
  ])(
    'accepts $origin as the own origin of a.com, secure $isSecure: $admits',
    ({ origin, isSecure, admits }) => {
      expect(originRule([])(origin, 'a.com', isSecure)).toBe(admits)
      expect(originRule([origin])(origin, 'a.com', isSecure)).toBe(true) // if it is listed
    },
  )
})

describe('hostRule', () => {
  it.each([
    { host: 'evil.com', allowed: [], admits: true },
    { host: undefined, allowed: [], admits: true },
    { host: 'a.com', allowed: ['a.com'], admits: true },
    { host: 'A.com:8080', allowed: ['a.COM'], admits: true },
    { host: 'a.com:8080', allowed: ['a.com:8080'], admits: true },
    { host: 'a.com', allowed: ['a.com:8080'], admits: false },
    { host: 'a.com:80', allowed: ['a.com:8080'], admits: false },
    { host: 'a.com', allowed: ['a.com:443'], admits: true }, // a browser leaves the port out where it is the default one
    { host: 'a.com', allowed: ['a.com:80'], admits: true },
    { host: 'a.com:443', allowed: ['a.com:443'], admits: true },
    { host: 'a.com:8080', allowed: ['a.com:443'], admits: false },
    { host: 'a.com:80', allowed: ['a.com:443'], admits: false },
    { host: '[::1]', allowed: ['[::1]:80'], admits: true },
    { host: 'x.a.com', allowed: ['*.a.com:443'], admits: true },
    { host: 'x.a.com:8080', allowed: ['*.a.com:443'], admits: false },
    { host: '[::1]:8080', allowed: ['[::1]'], admits: true },
    { host: '127.0.0.1', allowed: ['127.0.0.1', 'localhost'], admits: true },
    { host: 'x.a.com', allowed: ['*.a.com'], admits: true },
    { host: 'y.x.a.com:1', allowed: ['*.a.com'], admits: true },
    { host: 'x.a.com:8080', allowed: ['*.a.com:8080'], admits: true },
    { host: 'x.a.com', allowed: ['*.a.com:8080'], admits: false },
    { host: 'a.com', allowed: ['*.a.com'], admits: false },
    { host: 'evila.com', allowed: ['*.a.com'], admits: false },
    { host: '*.a.com', allowed: ['*.a.com'], admits: false },
    { host: 'evil.com', allowed: ['a.com'], admits: false },
    { host: 'a.com.evil.com', allowed: ['a.com', '*.a.com'], admits: false },
    { host: 'a.com.', allowed: ['a.com'], admits: false },
    { host: 'a.com@evil.com', allowed: ['a.com'], admits: false },
    { host: '', allowed: ['a.com'], admits: false },
    { host: undefined, allowed: ['a.com'], admits: false },
  ])('$host with $allowed: $admits', ({ host, allowed, admits }) => {
    expect(hostRule(allowed)(host)).toBe(admits)
  })
})
