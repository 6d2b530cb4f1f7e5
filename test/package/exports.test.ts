import { describe, expect, it } from 'vitest'
import * as core from 'wshub'
import * as client from 'wshub/client'
import * as express from 'wshub/express'
import * as fastify from 'wshub/fastify'
import * as koa from 'wshub/koa'
import * as log from 'wshub/log'
import * as nats from 'wshub/nats'
import * as nodeCluster from 'wshub/node-cluster'
import * as opentelemetry from 'wshub/opentelemetry'
import * as prometheus from 'wshub/prometheus'
import * as protocol from 'wshub/protocol'
import * as redis from 'wshub/redis'
import * as testing from 'wshub/testing'
import * as backplaneTesting from 'wshub/testing/backplane'
import * as historyTesting from 'wshub/testing/history'
import { compilerOptions, ENTRIES, root, typeExports } from './support.ts'

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
        "instruments",
        "memoryHistory",
        "readCloseOptions",
        "readInstruments",
        "stampJson",
      ]
    `)
  })

  it('by wshub/protocol', () => {
    expect(Object.keys(protocol)).toMatchInlineSnapshot(`
      [
        "CloseCode",
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

describe('the types exported', () => {
  const files = Object.values(ENTRIES).map((file) => root + file)
  const [
    ofCore,
    ofProtocol,
    ofFastify,
    ofExpress,
    ofKoa,
    ofRedis,
    ofNats,
    ofNodeCluster,
    ofPrometheus,
    ofTelemetry,
    ofLog,
    ofClient,
    ofTesting,
    ofHistoryTesting,
    ofBackplaneTesting,
  ] = typeExports(files, compilerOptions())

  it('by wshub', () => {
    expect(ofCore).toMatchInlineSnapshot(`
      [
        "Answer",
        "Appended",
        "Backplane",
        "BackplaneLife",
        "BackplaneListener",
        "BackplaneState",
        "BinaryPayload",
        "BroadcastOptions",
        "CallHandler",
        "CallOptions",
        "CallResult",
        "CallbackContext",
        "CallbackName",
        "CallbackRunner",
        "Census",
        "CloseCause",
        "CloseCode",
        "CloseCount",
        "CloseOptions",
        "CloseParty",
        "CloseReason",
        "CloseResult",
        "Cluster",
        "ClusterOptions",
        "ClusterStats",
        "CompressionOptions",
        "CompressionWindow",
        "Connection",
        "ConnectionRef",
        "ConnectionState",
        "ConnectionSummary",
        "CountAnswer",
        "Distribution",
        "Distributions",
        "DropCount",
        "DropReason",
        "Dropped",
        "EventHandler",
        "Frame",
        "FrameInit",
        "Gap",
        "HandshakeInit",
        "HeartbeatOptions",
        "HistogramName",
        "HistoryLimits",
        "HistoryListener",
        "HistoryOptions",
        "HistoryPage",
        "HistoryStats",
        "HistoryStore",
        "Hub",
        "HubDiagnostics",
        "HubError",
        "HubErrorCode",
        "HubOptions",
        "HubState",
        "HubStats",
        "HubSummary",
        "Instrument",
        "Labels",
        "LimitOptions",
        "Mark",
        "Member",
        "MemoryBackplane",
        "MemoryBus",
        "MemoryHistoryBus",
        "MemoryHistoryLimits",
        "MemoryHistoryOptions",
        "Message",
        "Metadata",
        "MetadataKey",
        "MetadataMap",
        "MetadataOf",
        "NodeCount",
        "NodeInfo",
        "Opcode",
        "Payload",
        "PresenceChange",
        "PresenceMember",
        "PresenceMode",
        "PresenceOptions",
        "PresenceStats",
        "ProxyHeader",
        "PublishOptions",
        "RateLimitPolicy",
        "ReadRequest",
        "ReadResult",
        "Reading",
        "RegisterInit",
        "ReplayFrom",
        "ResolvedCloseOptions",
        "ResolvedClusterOptions",
        "ResolvedHistoryOptions",
        "ResolvedHubOptions",
        "ResolvedLimits",
        "ResolvedPresenceOptions",
        "ResumeResult",
        "RoomHistoryOptions",
        "RoomPresence",
        "Sample",
        "Selector",
        "SendOptions",
        "SlowConsumerPolicy",
        "StampPlace",
        "StoredRecord",
        "TrustFunction",
        "TrustProxy",
        "UpgradeInit",
        "UpgradeRequest",
        "UpgradeServer",
        "Upgrader",
        "WebSocketLike",
      ]
    `)
  })

  it('by wshub/protocol', () => {
    expect(ofProtocol).toMatchInlineSnapshot(`
      [
        "CloseCode",
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

  it('by wshub/redis', () => {
    expect(ofRedis).toMatchInlineSnapshot(`
      [
        "RedisBackplaneOptions",
        "RedisClientLike",
        "RedisHistoryOptions",
        "RedisPlace",
      ]
    `)
  })

  it('by wshub/nats', () => {
    expect(ofNats).toMatchInlineSnapshot(`
      [
        "JetStreamHistoryOptions",
        "NatsBackplaneOptions",
        "NatsPlace",
      ]
    `)
  })

  it('by wshub/node-cluster', () => {
    expect(ofNodeCluster).toMatchInlineSnapshot(`
      [
        "NodeClusterOptions",
      ]
    `)
  })

  it('by wshub/prometheus', () => {
    expect(ofPrometheus).toMatchInlineSnapshot(`
      [
        "AnyRegistry",
        "HubMetricsOptions",
      ]
    `)
  })

  it('by wshub/opentelemetry', () => {
    expect(ofTelemetry).toMatchInlineSnapshot(`
      [
        "HubMetricsOptions",
        "TraceUpgradesOptions",
        "TracedCallbacksOptions",
      ]
    `)
  })

  it('by wshub/log', () => {
    expect(ofLog).toMatchInlineSnapshot(`
      [
        "LogOptions",
        "Logger",
      ]
    `)
  })

  it('by wshub/client', () => {
    expect(ofClient).toMatchInlineSnapshot(`
      [
        "ConnectOptions",
        "ReconnectingSocket",
        "RoomPosition",
        "SocketCloseEvent",
        "SocketData",
        "SocketErrorEvent",
        "SocketEvents",
        "SocketLike",
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

  it('by wshub/testing/history', () => {
    expect(ofHistoryTesting).toMatchInlineSnapshot(`
      [
        "Case",
        "HistoryContractCase",
        "HistorySetup",
      ]
    `)
  })

  it('by wshub/testing/backplane', () => {
    expect(ofBackplaneTesting).toMatchInlineSnapshot(`
      [
        "BackplaneContractCase",
        "BackplaneSetup",
      ]
    `)
  })
})
