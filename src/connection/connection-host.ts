import type { RunningHandlers } from '../base/running-handlers.ts'
import type { Delivery } from '../delivery/delivery.ts'
import type { ConnectionOptions } from './connection-options.ts'
import type { Keepalive } from './keepalive.ts'
import type { DeferredCloses } from './opening.ts'
import type { Tally } from './tally.ts'

/** The objects that all connections of a hub share. */
export interface ConnectionHost {
  readonly options: ConnectionOptions
  readonly delivery: Delivery
  readonly keepalive: Keepalive
  readonly tally: Tally
  /** Callbacks that `hub.close()` waits for. */
  readonly running: RunningHandlers
  readonly deferred: DeferredCloses
}
