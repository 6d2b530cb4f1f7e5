// Checked by `npm run types`, and never run: the options that the types allow, and those that they refuse.
import { expectTypeOf } from 'vitest'
import {
  type Backplane,
  type CompressionOptions,
  type Connection,
  type Gap,
  Hub,
  type HubOptions,
  memoryHistory,
  type PresenceChange,
  type SlowConsumerPolicy,
  stampJson,
} from 'wshub'

declare const backplane: Backplane

expectTypeOf<SlowConsumerPolicy>().toEqualTypeOf<
  'close' | 'dropNewest' | 'dropOldest' | 'conflate' | 'resync'
>()
export const all: Required<HubOptions> = {
  maxConnections: 1,
  maxMessageSize: 1,
  pingIntervalMs: 0,
  pongTimeoutMs: 1,
  heartbeat: { everyMs: 25_000 },
  enableCompression: true,
  allowedOrigins: ['https://app.example.com'] as const,
  allowedHosts: ['app.example.com'] as const,
  protocols: ['chat'] as const,
  onError: (error, conn) => {
    expectTypeOf(error).toEqualTypeOf<Error>()
    expectTypeOf(conn).toEqualTypeOf<Connection | undefined>()
  },
  maxBufferedBytes: 1,
  maxTotalBufferedBytes: 1,
  slowConsumer: 'dropOldest',
  writeDelayMs: 5,
  openTimeoutMs: 0,
  closeTimeoutMs: 1,
  limits: { maxMessagesPerSecond: 100, rateLimitPolicy: 'close', maxFragments: undefined },
  trustProxy: ['10.0.0.0/8', 'loopback'] as const,
  proxyHeader: 'forwarded',
  callbackContext: () => (_name, call) => call(),
  history: {
    store: memoryHistory({ maxBytes: 65_536 }),
    rooms: (room) => (room.startsWith('chat:') ? { maxMessages: 100 } : undefined),
    stamp: stampJson,
    maxCachedBytes: 0,
    maxPendingBytes: 1,
  },
  presence: {
    rooms: (room) => (room.startsWith('live:') ? 'count' : undefined),
    user: (conn) => {
      expectTypeOf(conn).toEqualTypeOf<Connection>()
      return undefined
    },
    info: () => ({ name: 'Ann' }),
    leaveGraceMs: 0,
    maxMembersPerRoom: 1,
    maxInfoBytes: 2,
    onChange: (room, change) => {
      expectTypeOf(room).toEqualTypeOf<string>()
      expectTypeOf(change).toEqualTypeOf<PresenceChange>()
    },
  },
  backplane,
  cluster: {
    namespace: 'app',
    heartbeatIntervalMs: 1,
    heartbeatTimeoutMs: 1,
    callTimeoutMs: 1,
    maxPendingCalls: 1,
    maxEnvelopeBytes: 1_024,
    maxEarlyBytes: 0,
    roomGraceMs: 0,
    publicMetadata: ['name'] as const,
    onGap: (gap) => expectTypeOf(gap).toEqualTypeOf<Gap>(),
  },
}
const compression: Required<CompressionOptions> = {
  thresholdBytes: 0,
  maxBytes: 1,
  level: 1,
  memLevel: 1,
  window: 'shared',
  windowBytes: 512,
  maxDeflates: 2,
}
expectTypeOf<HubOptions['enableCompression']>().toEqualTypeOf<boolean | CompressionOptions | undefined>()
new Hub({ enableCompression: compression })
new Hub({ enableCompression: {} })
new Hub({ enableCompression: { level: undefined } })
// @ts-expect-error misspelt
new Hub({ enableCompression: { threshold: 0 } })
// @ts-expect-error a number in words
new Hub({ enableCompression: { level: 'best' } })
new Hub({ trustProxy: (address, hop) => address !== '' && hop === 0 })
// @ts-expect-error misspelt
new Hub({ limits: { maxMessages: 1 } })
// @ts-expect-error no such policy
new Hub({ limits: { rateLimitPolicy: 'drop' } })
// @ts-expect-error no such header
new Hub({ proxyHeader: 'x-real-ip' })
/** An explicit `undefined` means the default, also under exactOptionalPropertyTypes. */
new Hub({ maxConnections: undefined, allowedOrigins: undefined, onError: undefined })
// @ts-expect-error misspelt
new Hub({ maxConnection: 1 })
// @ts-expect-error in other units
new Hub({ pingInterval: 30 })
// @ts-expect-error a number in words
new Hub({ maxMessageSize: '64kb' })
// @ts-expect-error a single origin
new Hub({ allowedOrigins: 'https://app.example.com' })
// @ts-expect-error no such policy
new Hub({ slowConsumer: 'drop' })
