export type { ProxyHeader, TrustFunction, TrustProxy } from './client-address.ts'
export { CloseCode } from './close-code.ts'
export type { Connection, ConnectionState } from './connection.ts'
export type { DropCount, Dropped, DropReason } from './delivery.ts'
export type { HubDiagnostics } from './diagnostics.ts'
export { HubError, type HubErrorCode } from './errors.ts'
export { Frame, type FrameInit, Opcode } from './frame.ts'
export type { EventHandler } from './handler.ts'
export { Handshake, type HandshakeInit } from './handshake.ts'
export { type CloseOptions, type CloseResult, Hub, type HubState, type UpgradeInit } from './hub.ts'
export type { BinaryPayload, Message, Payload, SendOptions } from './message.ts'
export type { Metadata, MetadataMap } from './metadata.ts'
export type {
  CompressionOptions,
  HubOptions,
  LimitOptions,
  RateLimitPolicy,
  SlowConsumerPolicy,
} from './options.ts'
export type { HubStats } from './stats.ts'
export type { UpgradeServer } from './upgrade.ts'
export type { WebSocketLike } from './websocket-events.ts'
