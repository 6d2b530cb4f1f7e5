import type { IncomingMessage } from 'node:http'
import type { BackplaneState } from '../backplane/backplane.ts'
import type { HubError } from '../base/errors.ts'
import type { Gap } from '../cluster/gaps.ts'
import type { CloseCause } from '../connection/close-cause.ts'
import type { Connection } from '../connection/connection.ts'
import type { Dropped } from '../delivery/drop-count.ts'
import type { Message, Payload } from '../protocol/message.ts'
import type { HistogramName } from './distributions.ts'
import type { Hub } from './hub.ts'

/**
 * The messages of each channel of `node:diagnostics_channel`. They are created only while the channel has a
 * subscriber. A subscriber runs synchronously, inside the hub: it must be quick, must not throw, and must not
 * call back into the hub.
 */
export interface HubDiagnostics {
  /** An upgrade has arrived, and is passed to the request listeners of its server. */
  'wshub:upgrade:began': { hub: Hub; request: IncomingMessage }
  /** An upgrade was answered with 101; `onOpen` follows. */
  'wshub:upgrade:accepted': { hub: Hub; request: IncomingMessage; connection: Connection }
  /** The hub refused an upgrade; the error has the code and the HTTP status. */
  'wshub:upgrade:refused': { hub: Hub; request: IncomingMessage; error: HubError }
  /** A connection is open; `onOpen` is about to be called. */
  'wshub:open': { connection: Connection }
  /** A message was received, before `onMessage`. */
  'wshub:message': { connection: Connection; message: Message; bytes: number }
  /** A message was queued for that many connections; `bytes` is the size of one uncompressed frame. */
  'wshub:delivery': {
    hub: Hub
    recipients: number
    bytes: number
    /** The connection that it was sent to by `sendTo`; otherwise `undefined`. */
    id: string | undefined
    /** The union of rooms that it was sent to; `undefined` = all connections, or one. */
    rooms: readonly string[] | undefined
    exceptIds: readonly string[]
    exceptRooms: readonly string[]
    type: Message['type']
    /** A view of the frame, which must not be changed. */
    payload: Buffer
  }
  /** A message of `sendText` or `sendBinary` was queued for a connection. */
  'wshub:send': { connection: Connection; data: Payload }
  /** Messages for a connection were dropped. */
  'wshub:drop': { connection: Connection; dropped: Dropped }
  /** Messages of a room with a history were lost for a connection, before `onBehind`. */
  'wshub:behind': { connection: Connection; room: string }
  /** A connection is closed, before `onClose`. */
  'wshub:close': { connection: Connection; code: number; reason: string; cause: CloseCause }
  /** An error was reported, before any `onError`; `connection` is undefined if it belongs to none. */
  'wshub:error': { hub: Hub; connection: Connection | undefined; error: Error }
  /** Messages of another node were lost, before `onGap`. */
  'wshub:gap': { hub: Hub; gap: Gap }
  /** `hub.close()` has finished. */
  'wshub:hub:closed': { hub: Hub }
  /** Something was counted in a histogram of `hub.stats().distributions`. */
  'wshub:measure': { hub: Hub; histogram: HistogramName; value: number }
  /** `hub.cluster.state` of a hub with a backplane has changed. */
  'wshub:cluster:state': { hub: Hub; state: BackplaneState }
}
