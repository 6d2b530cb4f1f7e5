import type { Metadata } from '../base/metadata.ts'
import { checkKeys, invalid } from '../base/option-rules.ts'
import { readExpiry } from '../connection/credential.ts'
import { checkMetadataSize, type MetadataEntries } from '../connection/metadata.ts'
import { HANDSHAKE_INIT, type HandshakeInit, type Headers, readHeaders } from '../protocol/handshake.ts'

/** Options of a route for the connection that it opens. */
export interface UpgradeInit<Meta extends object = Metadata> extends HandshakeInit {
  /** The initial entries of `connection.metadata`, present before `onOpen`. */
  metadata?: object & Partial<Meta>
  /**
   * When the client's credential expires: a Date, or ms since the epoch. Default never. See
   * `connection.renew`.
   */
  expiresAt?: Date | number | undefined
  /**
   * The client's address by the rule of your framework; the adapters fill it in. `trustProxy` of the hub
   * takes precedence.
   */
  remoteAddress?: string | undefined
  /** Whether the client used TLS, by the same rule; not needed for a TLS socket. */
  isSecure?: boolean | undefined
}

/**
 * Facts about a request that a framework knows. {@link UpgradeInit} takes precedence; cookies of both are
 * sent.
 */
export type FrameworkInit = Pick<UpgradeInit, 'remoteAddress' | 'isSecure' | 'headers'>

/** Options for a WebSocket that was opened elsewhere. */
export type RegisterInit<Meta extends object = Metadata> = Pick<
  UpgradeInit<Meta>,
  'metadata' | 'expiresAt' | 'remoteAddress'
>

const REGISTER_INIT: Record<keyof RegisterInit, undefined> = {
  metadata: undefined,
  expiresAt: undefined,
  remoteAddress: undefined,
}
/** A token. @see RFC 9110 §5.6.2 */
const TOKEN = /^[\w!#$%&'*+.^`|~-]+$/

const UPGRADE_INIT: Record<keyof UpgradeInit, undefined> = {
  ...HANDSHAKE_INIT,
  ...REGISTER_INIT,
  isSecure: undefined,
}

/** An {@link UpgradeInit} that was read once: its getters are user code, which must not run after the 101. */
export interface ResolvedInit {
  readonly protocol: string | undefined
  /** Headers for the 101, from the framework and from the route. */
  readonly headers: readonly (Headers | undefined)[]
  readonly metadata: MetadataEntries
  /** In ms since the epoch. */
  readonly expiresAt: number | undefined
  readonly remoteAddress: string | undefined
  readonly isSecure: boolean
}

/**
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION or WSHUB_ERR_TOO_MUCH_METADATA, and whatever a getter throws
 */
export function resolveInit(
  init: UpgradeInit,
  maxMetadataEntries: number,
  framework: FrameworkInit,
): ResolvedInit {
  checkKeys(init, UPGRADE_INIT, 'an option of an upgrade')
  return read(init, maxMetadataEntries, framework)
}

/** @throws {HubError} as for {@link resolveInit} */
export function resolveRegisterInit(init: RegisterInit, maxMetadataEntries: number): ResolvedInit {
  checkKeys(init, REGISTER_INIT, 'an option of register')
  return read(init, maxMetadataEntries)
}

/** The metadata of most upgrades. */
const NONE = Object.freeze({})

function read(init: UpgradeInit, maxMetadataEntries: number, framework: FrameworkInit = {}): ResolvedInit {
  const { protocol, headers, metadata = NONE, expiresAt } = init
  const { remoteAddress = framework.remoteAddress, isSecure = framework.isSecure } = init
  if (protocol !== undefined && typeof protocol !== 'string')
    throw invalid('protocol', 'is a string', protocol)
  if (protocol !== undefined && !TOKEN.test(protocol))
    throw invalid('protocol', 'is a token of RFC 9110', protocol)
  // The entries of these are not properties: they would be lost.
  if (
    typeof metadata !== 'object' ||
    metadata === null ||
    metadata instanceof Map ||
    Array.isArray(metadata)
  ) {
    throw invalid('metadata', 'is an object of entries', metadata)
  }
  if (remoteAddress !== undefined && typeof remoteAddress !== 'string') {
    throw invalid('remoteAddress', 'is a string', remoteAddress)
  }
  if (isSecure !== undefined && typeof isSecure !== 'boolean') {
    throw invalid('isSecure', 'is true or false', isSecure)
  }
  const entries = metadata === NONE ? [] : Object.entries(metadata)
  checkMetadataSize(entries.length, maxMetadataEntries)
  return {
    protocol,
    headers: [framework.headers, readHeaders(headers)],
    metadata: entries,
    expiresAt: expiresAt === undefined ? undefined : readExpiry(expiresAt),
    remoteAddress,
    isSecure: isSecure === true,
  }
}
