import { describe, expect, it } from 'vitest'
import * as core from 'wshub'
import * as client from 'wshub/client'
import * as express from 'wshub/express'
import * as fastify from 'wshub/fastify'
import * as h3 from 'wshub/h3'
import * as hono from 'wshub/hono'
import * as inspector from 'wshub/inspector'
import * as koa from 'wshub/koa'
import * as log from 'wshub/log'
import * as nats from 'wshub/nats'
import * as nest from 'wshub/nest'
import * as nodeCluster from 'wshub/node-cluster'
import * as opentelemetry from 'wshub/opentelemetry'
import * as prometheus from 'wshub/prometheus'
import * as protocol from 'wshub/protocol'
import * as redis from 'wshub/redis'
import * as testing from 'wshub/testing'
import * as backplaneTesting from 'wshub/testing/backplane'
import * as historyTesting from 'wshub/testing/history'

// A missing name is a breaking change, and a new name is permanent API: both are either intended or a
// mistake. package.test.ts checks that the built package exports the same names.

describe('the values exported', () => {
  it('by wshub', () => {
    expect(Object.keys(core).sort()).toMatchInlineSnapshot(`
      [
        "BackplaneLife",
        "CloseCode",
        "Frame",
        "Handshake",
        "Hub",
        "HubError",
        "MemoryBackplane",
        "MemoryBus",
        "MemoryHistoryBus",
        "Opcode",
        "asWebSocket",
        "instruments",
        "memoryHistory",
        "readCloseOptions",
        "readInstruments",
        "stampJson",
      ]
    `)
  })

  it('by wshub/protocol', () => {
    expect(Object.keys(protocol)).toEqual(['CloseCode'])
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

  it('by wshub/hono', () => {
    expect(Object.keys(hono).sort()).toMatchInlineSnapshot(`
      [
        "default",
        "wsHub",
      ]
    `)
    expect(hono.default).toBe(hono.wsHub)
  })

  it('by wshub/h3', () => {
    expect(Object.keys(h3).sort()).toMatchInlineSnapshot(`
      [
        "default",
        "wsHub",
      ]
    `)
    expect(h3.default).toBe(h3.wsHub)
  })

  it('by wshub/nest', () => {
    expect(Object.keys(nest)).toMatchInlineSnapshot(`
      [
        "HubAdapter",
      ]
    `)
  })

  it('by wshub/redis', () => {
    expect(Object.keys(redis)).toMatchInlineSnapshot(`
      [
        "redisBackplane",
        "redisHistory",
      ]
    `)
  })

  it('by wshub/nats', () => {
    expect(Object.keys(nats)).toMatchInlineSnapshot(`
      [
        "natsBackplane",
        "jetstreamHistory",
      ]
    `)
  })

  it('by wshub/node-cluster', () => {
    expect(Object.keys(nodeCluster).sort()).toMatchInlineSnapshot(`
      [
        "nodeClusterBackplane",
        "serveNodeCluster",
      ]
    `)
  })

  it('by wshub/prometheus', () => {
    expect(Object.keys(prometheus)).toMatchInlineSnapshot(`
      [
        "hubMetrics",
      ]
    `)
  })

  it('by wshub/opentelemetry', () => {
    expect(Object.keys(opentelemetry)).toMatchInlineSnapshot(`
      [
        "hubMetrics",
        "tracedCallbacks",
        "traceUpgrades",
      ]
    `)
  })

  it('by wshub/inspector', () => {
    expect(Object.keys(inspector)).toMatchInlineSnapshot(`
      [
        "inspector",
      ]
    `)
  })

  it('by wshub/log', () => {
    expect(Object.keys(log)).toMatchInlineSnapshot(`
      [
        "logTo",
      ]
    `)
  })

  it('by wshub/client', () => {
    expect(Object.keys(client)).toMatchInlineSnapshot(`
      [
        "connect",
      ]
    `)
  })

  it('by wshub/testing', () => {
    expect(Object.keys(testing).sort()).toMatchInlineSnapshot(`
      [
        "UpgradeRefusedError",
        "connect",
      ]
    `)
  })

  it('by wshub/testing/history', () => {
    expect(Object.keys(historyTesting)).toMatchInlineSnapshot(`
      [
        "historyContract",
      ]
    `)
  })

  it('by wshub/testing/backplane', () => {
    expect(Object.keys(backplaneTesting)).toMatchInlineSnapshot(`
      [
        "backplaneContract",
      ]
    `)
  })
})
