import { checkKeys, inRange, invalid } from '../base/option-rules.ts'

/**
 * Settings of the heartbeat: an empty text message that shows a page that its connection is alive, since
 * browsers answer pings but hide them from scripts.
 */
export interface HeartbeatOptions {
  /** Time, in ms, without a message to a client, after which it is sent a heartbeat; 1 or more. */
  everyMs: number
}

/** @throws {HubError} WSHUB_ERR_INVALID_OPTION */
export function readHeartbeat(option: HeartbeatOptions | undefined): Readonly<HeartbeatOptions> | undefined {
  if (option === undefined) return undefined
  if (typeof option !== 'object' || option === null) throw invalid('heartbeat', 'is an object', option)
  checkKeys(option, { everyMs: 0 }, 'a setting of heartbeat')
  return Object.freeze({ everyMs: inRange('heartbeat.everyMs', option.everyMs, 1) })
}
