import { checkKeys, integersOf, invalid, orDefault, type Resolved } from '../base/option-rules.ts'
import type { RateLimitPolicy } from '../connection/rate-limit.ts'

/** Limits of one client. Every key is optional; an explicit `undefined` means the default. */
export interface LimitOptions {
  /**
   * The most connections and pending upgrades from one address (IPv6: one /64), 0 or more; a further upgrade
   * is answered with 429. 0 = no limit, because behind a proxy without `trustProxy`, or behind one company's
   * gateway, all clients have one address. Default 0.
   */
  maxConnectionsPerAddress?: number | undefined
  /**
   * The most connections and pending upgrades in one HTTP/2 session, 1 or more; a further upgrade is answered
   * with 429. Default 1 000.
   */
  maxConnectionsPerSession?: number | undefined
  /**
   * The most upgrades in a second from one address, 0 or more; a further one is answered with 429. 0 = no
   * limit, for the same reason. Default 0.
   */
  maxUpgradesPerSecondPerAddress?: number | undefined
  /**
   * The most upgrades that wait for the application's answer at once, 1 or more; a further one is answered
   * with 503. Default 1 024.
   */
  maxPendingUpgrades?: number | undefined
  /**
   * Time, in ms, to accept an upgrade or to send an ordinary answer in full. After it the upgrade is answered
   * with 408; if an answer has begun, its socket is destroyed. 0 = no limit. Default 30 000.
   */
  upgradeTimeoutMs?: number | undefined
  /**
   * The most messages and pings a second from one client, 0 or more; 0 = no limit, because only the
   * application knows what is normal. Default 0.
   */
  maxMessagesPerSecond?: number | undefined
  /**
   * The most bytes of messages a second from one client, after inflation, 0 or more; 0 = no limit, for the
   * same reason. Default 0.
   */
  maxBytesPerSecond?: number | undefined
  /**
   * The measure above these two rates: `pause`, the client is read more slowly, or `close` (1008). Default
   * `pause`.
   */
  rateLimitPolicy?: RateLimitPolicy | undefined
  /** The most rooms of a connection, 1 or more; joining another one throws. Default 1 000. */
  maxRoomsPerConnection?: number | undefined
  /**
   * The most bytes of UTF-8 in a room's name, 1 or more; joining a room with a longer name throws. Default 1
   * 024.
   */
  maxRoomNameBytes?: number | undefined
  /** The most entries of a connection's metadata, 1 or more; setting another one throws. Default 256. */
  maxMetadataEntries?: number | undefined
  /**
   * The most fragments of an incoming message, 0 or more; above it 1008. 0 = 16 384, or as many as
   * `maxMessageSize` needs in fragments of 64 bytes. Default 0.
   */
  maxFragments?: number | undefined
  /**
   * The most chunks of an incoming frame that wait for the others, 0 or more; above it 1008. 0 = 262 144, or
   * as many as `maxMessageSize` needs in chunks of 16 bytes. Default 0.
   */
  maxBufferedChunks?: number | undefined
}

/** {@link LimitOptions} with every default in place. */
export type ResolvedLimits = Resolved<LimitOptions>

/** The defaults of {@link LimitOptions}. */
export const LIMIT_DEFAULTS = Object.freeze({
  maxConnectionsPerAddress: 0,
  maxConnectionsPerSession: 1_000,
  maxUpgradesPerSecondPerAddress: 0,
  maxPendingUpgrades: 1_024,
  upgradeTimeoutMs: 30_000,
  maxMessagesPerSecond: 0,
  maxBytesPerSecond: 0,
  rateLimitPolicy: 'pause',
  maxRoomsPerConnection: 1_000,
  maxRoomNameBytes: 1_024,
  maxMetadataEntries: 256,
  maxFragments: 0,
  maxBufferedChunks: 0,
})

/**
 * Reads the limits of one client. Those of fragments and chunks default to the numbers that a message of
 * `maxMessageSize` bytes may need.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION
 */
export function readLimits(options: LimitOptions = {}, maxMessageSize: number): ResolvedLimits {
  if (typeof options !== 'object' || options === null) throw invalid('limits', 'is an object', options)
  checkKeys(options, LIMIT_DEFAULTS, 'one of the limits')
  const limit = integersOf(options, LIMIT_DEFAULTS, 'limits.')
  const rateLimitPolicy = orDefault(options.rateLimitPolicy, LIMIT_DEFAULTS.rateLimitPolicy)
  if (rateLimitPolicy !== 'pause' && rateLimitPolicy !== 'close') {
    throw invalid('limits.rateLimitPolicy', 'is pause or close', rateLimitPolicy)
  }
  return Object.freeze({
    maxConnectionsPerAddress: limit('maxConnectionsPerAddress', 0),
    maxConnectionsPerSession: limit('maxConnectionsPerSession', 1),
    maxUpgradesPerSecondPerAddress: limit('maxUpgradesPerSecondPerAddress', 0),
    maxPendingUpgrades: limit('maxPendingUpgrades', 1),
    upgradeTimeoutMs: limit('upgradeTimeoutMs', 0),
    maxMessagesPerSecond: limit('maxMessagesPerSecond', 0),
    maxBytesPerSecond: limit('maxBytesPerSecond', 0),
    rateLimitPolicy,
    maxRoomsPerConnection: limit('maxRoomsPerConnection', 1),
    maxRoomNameBytes: limit('maxRoomNameBytes', 1),
    maxMetadataEntries: limit('maxMetadataEntries', 1),
    maxFragments: limit('maxFragments', 0) || Math.max(16_384, Math.ceil(maxMessageSize / 64)),
    maxBufferedChunks: limit('maxBufferedChunks', 0) || Math.max(262_144, Math.ceil(maxMessageSize / 16)),
  })
}
