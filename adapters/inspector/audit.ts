import { channel } from 'node:diagnostics_channel'
import type { IncomingMessage } from 'node:http'
import type { Hub } from 'wshub'

/** An action of an operator: the message of the diagnostics channel `wshub:inspector:action`. */
export interface InspectorAction {
  readonly hub: Hub<object>
  /** `follow`: the operator has begun to watch the messages of a room or client. */
  readonly action: 'send' | 'disconnect' | 'follow'
  /** A room may have the name of a client's id. */
  readonly kind: 'room' | 'client'
  /** The name of a room, or the id of a connection. */
  readonly target: string
  /** Of `follow`: whether the content of messages is shown. */
  readonly payloads?: boolean
  /** The upgrade request of the page, to tell who it was. */
  readonly request: IncomingMessage
}

const actions = channel('wshub:inspector:action')

/** Reports an action, before it is done. */
export function audit(action: InspectorAction): void {
  if (actions.hasSubscribers) actions.publish(action)
}
