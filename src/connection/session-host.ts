import type { Origin } from '../delivery/backlog.ts'
import type { Connection } from './connection.ts'
import type { ConnectionHost } from './connection-host.ts'
import type { ErrorSource } from './error-source.ts'

/** The objects that all sessions of a hub share, and the hub's part in their lives. */
export interface SessionHost<Meta extends object, Session> extends ConnectionHost {
  readonly hub: Connection<Meta>['hub']
  roomsOf(session: Session): ReadonlySet<string>
  /** Forgets a session that is closed. @returns the rooms it was in */
  release(session: Session): ReadonlySet<string>
  report(error: Error, source: ErrorSource<Meta>): void
  /** Messages to a session that can be read again were dropped: in each log, all from the given one on. */
  resync(session: Session, firsts: Iterable<Origin>): void
}
