import type { Connection } from './connection.ts'
import type { EventHandler } from './event-handler.ts'

/** Where an error comes from. */
export interface ErrorSource<Meta extends object> {
  /**
   * The callback, option or handler of the application that threw; `undefined` for an error that the hub
   * found.
   */
  readonly where?: string | undefined
  readonly connection?: Connection<Meta>
  /** The path of the upgrade request of the connection. */
  readonly path?: string | undefined
  /** Its `onError` is the first to be called. */
  readonly handler?: EventHandler<Meta>
}
