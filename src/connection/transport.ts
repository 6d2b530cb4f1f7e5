import type { OutboxSocket } from '../delivery/outbox-owner.ts'
import type { SessionWebSocket } from './hub-websocket.ts'

/** The WebSocket of a connection, and what is known of the socket beneath it. */
export interface Transport {
  readonly ws: SessionWebSocket
  readonly socket: OutboxSocket & { readonly bytesRead?: number }
  readonly remoteAddress: string | undefined
  /** The path of the upgrade request, for reports; `undefined` for a WebSocket that was opened elsewhere. */
  readonly path: string | undefined
  /** The window for outgoing compressed messages, in bits; 0 when compression was not negotiated. */
  readonly windowBits: number
  /** Whether they may refer to those before them. */
  readonly keepsContext: boolean
  /** Holds bytes that were read and have yet to be inflated. */
  readonly gate: { readonly heldBytes: number } | undefined
  /** The server that the connection came through. */
  readonly server: object | undefined
}
