export type { Backplane, BackplaneListener, BackplaneState } from './backplane/backplane.ts'
export { BackplaneLife } from './backplane/backplane-life.ts'
export { MemoryBackplane } from './backplane/memory-backplane.ts'
export { MemoryBus } from './backplane/memory-bus.ts'
export { HubError, type HubErrorCode } from './base/errors.ts'
export type { Distribution } from './base/histogram.ts'
export type { Metadata, MetadataKey, MetadataMap, MetadataOf } from './base/metadata.ts'
export type {
  Answer,
  CallOptions,
  CallResult,
  ClusterStats,
  CountAnswer,
  Member,
  NodeCount,
  NodeInfo,
} from './cluster/answer.ts'
export type { Cluster } from './cluster/cluster.ts'
export type { ClusterOptions, ResolvedClusterOptions } from './cluster/cluster-options.ts'
export type { Gap } from './cluster/gaps.ts'
export type { CallHandler } from './cluster/responder.ts'
export type { Selector } from './cluster/selector.ts'
export { asWebSocket } from './connection/as-web-socket.ts'
export type { CallbackContext, CallbackRunner } from './connection/callback-context.ts'
export type { CloseCause, CloseCount, CloseParty, CloseReason } from './connection/close-cause.ts'
export type { Connection, ConnectionState, ConnectionSummary } from './connection/connection.ts'
export type { CallbackName, EventHandler } from './connection/event-handler.ts'
export type { HeartbeatOptions } from './connection/heartbeat.ts'
export type { WebSocketLike } from './connection/hub-websocket.ts'
export type { RateLimitPolicy } from './connection/rate-limit.ts'
export type { SentCallback } from './connection/sent-callbacks.ts'
export type { ViewEventMap } from './connection/view-listener.ts'
export type { ViewData, ViewSendOptions, WebSocketView } from './connection/web-socket-view.ts'
export type {
  CompressionOptions,
  CompressionWindow,
  SlowConsumerPolicy,
} from './delivery/delivery-options.ts'
export type { DropCount, Dropped, DropReason } from './delivery/drop-count.ts'
export type { HistoryOptions, ResolvedHistoryOptions, RoomHistoryOptions } from './history/history-options.ts'
export type { HistoryPage } from './history/history-page.ts'
export type { HistoryStats } from './history/history-stats.ts'
export type {
  Appended,
  HistoryLimits,
  HistoryListener,
  HistoryStore,
  Mark,
  ReadRequest,
  ReadResult,
  StoredRecord,
} from './history/history-store.ts'
export { type MemoryHistoryOptions, memoryHistory } from './history/memory-history.ts'
export { MemoryHistoryBus, type MemoryHistoryLimits } from './history/memory-history-bus.ts'
export type { ReplayFrom } from './history/replay-from.ts'
export type { ResumeResult } from './history/resume.ts'
export { type StampPlace, stampJson } from './history/stamp-json.ts'
export type { BroadcastOptions, ConnectionRef, PublishOptions } from './hub/audience.ts'
export {
  type CloseOptions,
  type CloseResult,
  type ResolvedCloseOptions,
  readCloseOptions,
} from './hub/close-options.ts'
export type { HubDiagnostics } from './hub/diagnostics.ts'
export type { Distributions, HistogramName } from './hub/distributions.ts'
export { Hub } from './hub/hub.ts'
export type { HubOptions, ResolvedHubOptions } from './hub/hub-options.ts'
export type { LimitOptions, ResolvedLimits } from './hub/limit-options.ts'
export type { Census, HubState, HubStats, HubSummary } from './hub/stats.ts'
export type { Instrument, Labels, Reading, Sample } from './observe/instrument.ts'
export { instruments, readInstruments } from './observe/instruments.ts'
export type {
  PresenceChange,
  PresenceMember,
  PresenceMode,
  PresenceOptions,
  ResolvedPresenceOptions,
  RoomPresence,
} from './presence/presence-options.ts'
export type { PresenceStats } from './presence/presence-stats.ts'
export { CloseCode } from './protocol/close-code.ts'
export { Frame, type FrameInit } from './protocol/frame.ts'
export { Opcode } from './protocol/frame-header.ts'
export { Handshake, type HandshakeInit, type UpgradeRequest } from './protocol/handshake.ts'
export type { BinaryPayload, Message, Payload, SendOptions } from './protocol/message.ts'
export type { ProxyHeader, TrustFunction, TrustProxy } from './upgrade/client-address.ts'
export type { RegisterInit, UpgradeInit } from './upgrade/upgrade-init.ts'
export type { UpgradeServer } from './upgrade/upgrade-server.ts'
export type { Upgrader } from './upgrade/upgrader.ts'
