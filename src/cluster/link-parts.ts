import type { Backplane } from '../backplane/backplane.ts'
import type { FaultDigest } from '../base/fault-digest.ts'
import type { ResolvedClusterOptions } from './cluster-options.ts'
import type { LinkStats } from './link.ts'
import type { LocalHub } from './local-hub.ts'
import type { Membership } from './membership.ts'
import type { ChannelNames } from './wire/channel-names.ts'

/** The objects that the publisher and the receiver of a link share. */
export interface LinkParts {
  readonly backplane: Backplane
  readonly local: LocalHub
  readonly options: ResolvedClusterOptions
  readonly names: ChannelNames
  readonly membership: Membership
  readonly faults: FaultDigest
  readonly stats: LinkStats
}
