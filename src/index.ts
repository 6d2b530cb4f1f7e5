export type { BroadcastOptions, ConnectionRef } from './audience.ts'
export type { Backplane, BackplaneListener, BackplaneState } from './backplane.ts'
export type { ProxyHeader, TrustFunction, TrustProxy } from './client-address.ts'
export type { CloseCause, CloseParty, CloseReason } from './close-cause.ts'
export { CloseCode } from './close-code.ts'
export type { CloseOptions } from './close-options.ts'
export type {
  Answer,
  CallOptions,
  CallResult,
  Cluster,
  ClusterStats,
  CountAnswer,
  Member,
  NodeCount,
  NodeInfo,
} from './cluster.ts'
export type { ClusterOptions, ResolvedClusterOptions } from './cluster-options.ts'
export type { Connection, ConnectionState, ConnectionSummary } from './connection.ts'
export type { DropCount, Dropped, DropReason } from './delivery.ts'
export type { HubDiagnostics } from './diagnostics.ts'
export { HubError, type HubErrorCode } from './errors.ts'
export { Frame, type FrameInit, Opcode } from './frame.ts'
export type { Gap } from './gaps.ts'
export type { EventHandler } from './handler.ts'
export { Handshake, type HandshakeInit } from './handshake.ts'
export { type CloseResult, Hub, type HubState, type HubSummary } from './hub.ts'
export { MemoryBackplane, MemoryBus } from './memory-backplane.ts'
export type { BinaryPayload, Message, Payload, SendOptions } from './message.ts'
export type { Metadata, MetadataKey, MetadataMap, MetadataOf } from './metadata.ts'
export type {
  CompressionOptions,
  HubOptions,
  LimitOptions,
  RateLimitPolicy,
  ResolvedHubOptions,
  ResolvedLimits,
  SlowConsumerPolicy,
} from './options.ts'
export type { CallHandler } from './responder.ts'
export type { Selector } from './selector.ts'
export type { HubStats } from './stats.ts'
export type { UpgradeServer } from './upgrade.ts'
export type { RegisterInit, UpgradeInit } from './upgrade-init.ts'
export type { WebSocketLike } from './websocket-events.ts'
