import { describe, expect, it } from 'vitest'
import * as core from 'wshub'
import * as express from 'wshub/express'
import * as fastify from 'wshub/fastify'
import * as koa from 'wshub/koa'
import * as testing from 'wshub/testing'
import { compilerOptions, ENTRIES, root, typeExports } from './support.ts'

// A name that is missing here is a breaking change and one that is new is API for good: both are meant, or a mistake.
// That the built package exports the same is in package.test.ts.

describe('the values exported', () => {
  it('by wshub', () => {
    expect(Object.keys(core).sort()).toMatchInlineSnapshot(`
      [
        "CloseCode",
        "Frame",
        "Handshake",
        "Hub",
        "HubError",
        "Opcode",
      ]
    `)
  })

  it('by wshub/fastify', () => {
    expect(Object.keys(fastify).sort()).toMatchInlineSnapshot(`
      [
        "default",
        "hubPlugin",
      ]
    `)
    expect(fastify.default).toBe(fastify.hubPlugin)
  })

  it('by wshub/express', () => {
    expect(Object.keys(express).sort()).toMatchInlineSnapshot(`
      [
        "default",
        "wsHub",
      ]
    `)
    expect(express.default).toBe(express.wsHub)
  })

  it('by wshub/koa', () => {
    expect(Object.keys(koa).sort()).toMatchInlineSnapshot(`
      [
        "default",
        "wsHub",
      ]
    `)
    expect(koa.default).toBe(koa.wsHub)
  })

  it('by wshub/testing', () => {
    expect(Object.keys(testing).sort()).toMatchInlineSnapshot(`
      [
        "UpgradeRefusedError",
        "connect",
      ]
    `)
  })
})

describe('the types exported', () => {
  const files = Object.values(ENTRIES).map((file) => root + file)
  const [ofCore, ofFastify, ofExpress, ofKoa, ofTesting] = typeExports(files, compilerOptions())

  it('by wshub', () => {
    expect(ofCore).toMatchInlineSnapshot(`
      [
        "BinaryPayload",
        "CloseCode",
        "CloseOptions",
        "CloseResult",
        "CompressionOptions",
        "Connection",
        "ConnectionState",
        "DropCount",
        "DropReason",
        "Dropped",
        "EventHandler",
        "Frame",
        "FrameInit",
        "HandshakeInit",
        "Hub",
        "HubDiagnostics",
        "HubError",
        "HubErrorCode",
        "HubOptions",
        "HubState",
        "HubStats",
        "LimitOptions",
        "Message",
        "Metadata",
        "MetadataMap",
        "Opcode",
        "Payload",
        "ProxyHeader",
        "RateLimitPolicy",
        "SendOptions",
        "SlowConsumerPolicy",
        "TrustFunction",
        "TrustProxy",
        "UpgradeInit",
        "UpgradeServer",
        "WebSocketLike",
      ]
    `)
  })

  it('by wshub/fastify', () => {
    expect(ofFastify).toMatchInlineSnapshot(`
      [
        "HubPluginOptions",
      ]
    `)
  })

  it('by wshub/express', () => {
    expect(ofExpress).toMatchInlineSnapshot(`
      [
        "WsHubMiddleware",
        "WsHubOptions",
      ]
    `)
  })

  it('by wshub/koa', () => {
    expect(ofKoa).toMatchInlineSnapshot(`
      [
        "WsHubMiddleware",
        "WsHubOptions",
      ]
    `)
  })

  it('by wshub/testing', () => {
    expect(ofTesting).toMatchInlineSnapshot(`
      [
        "Application",
        "CloseInfo",
        "ConnectOptions",
        "TestClient",
        "UpgradeRefusedError",
      ]
    `)
  })
})
