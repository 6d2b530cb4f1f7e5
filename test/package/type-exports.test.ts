import { describe, expect, it } from 'vitest'
import { compilerOptions, ENTRIES, root, typeExports } from './support.ts'

// As for the values in exports.test.ts: a missing name is a breaking change, a new one is permanent API.

describe('the types exported', () => {
  const files = Object.values(ENTRIES).map((file) => root + file)
  const [
    ofCore,
    ofProtocol,
    ofFastify,
    ofExpress,
    ofKoa,
    ofHono,
    ofH3,
    ofNest,
    ofRedis,
    ofNats,
    ofNodeCluster,
    ofPrometheus,
    ofTelemetry,
    ofLog,
    ofInspector,
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
        "SentCallback",
        "SlowConsumerPolicy",
        "StampPlace",
        "StoredRecord",
        "TrustFunction",
        "TrustProxy",
        "UpgradeInit",
        "UpgradeRequest",
        "UpgradeServer",
        "Upgrader",
        "ViewData",
        "ViewEventMap",
        "ViewSendOptions",
        "WebSocketLike",
        "WebSocketView",
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

  it('by wshub/hono', () => {
    expect(ofHono).toMatchInlineSnapshot(`
      [
        "WsHubMiddleware",
        "WsHubOptions",
      ]
    `)
  })

  it('by wshub/h3', () => {
    expect(ofH3).toMatchInlineSnapshot(`
      [
        "WsHubMiddleware",
        "WsHubOptions",
      ]
    `)
  })

  it('by wshub/nest', () => {
    expect(ofNest).toMatchInlineSnapshot(`
      [
        "GatewayConnection",
        "GatewayMessage",
        "GatewayOptions",
        "GatewayRequest",
        "GatewayUpgrade",
        "HubAdapter",
        "HubAdapterOptions",
        "HubAdapterSettings",
        "UpgradeFunction",
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

  it('by wshub/inspector', () => {
    expect(ofInspector).toMatchInlineSnapshot(`
      [
        "Inspector",
        "InspectorAction",
        "InspectorOptions",
        "Permissions",
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
