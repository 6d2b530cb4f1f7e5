import type { BackplaneState } from '../backplane/backplane.ts'
import type { RunningHandlers } from '../base/running-handlers.ts'
import type { Payload, SendOptions } from '../protocol/message.ts'
import type { Gap } from './gaps.ts'
import type { Selection } from './wire/request.ts'

/** A connection of this process, as a cluster sees it. */
export interface LocalConnection {
  readonly id: string
  getMetadata(key: string): unknown
}

/** The connections that receive a broadcast. */
export interface Recipients {
  /** The union of these rooms; `undefined` = all connections. */
  readonly rooms: readonly string[] | undefined
  /** Connections that do not receive it, and rooms whose members do not. */
  readonly exceptIds: readonly string[]
  readonly exceptRooms: readonly string[]
}

/**
 * The hub of this process, as a cluster sees it. Every method concerns the connections of this process only.
 */
export interface LocalHub {
  /** The id of this node. The ids of its connections begin with it. */
  readonly node: string
  /** Callbacks of the application that `hub.close()` waits for. */
  readonly running: RunningHandlers
  /**
   * Resolves when the messages to rooms with a history that wait for the store now are stored and delivered
   * here, or refused; `undefined` when none does.
   */
  readonly stored: Promise<void> | undefined
  /** Whether the hub accepts connections. */
  readonly isOpen: boolean
  /** Returns how many connections there are, and how many rooms have a member. */
  size(): { readonly connections: number; readonly rooms: number }
  /** Returns how many connections are in one of the rooms. */
  roomSize(rooms: readonly string[]): number
  /** Returns a copy of the connections that are selected, each once. */
  select(selection: Selection): LocalConnection[]
  /** Puts connections into rooms, and reports those that a limit keeps out. @returns how many joined */
  join(selection: Selection, rooms: readonly string[]): number
  /** Takes connections out of rooms. @returns how many were in one of them */
  leave(selection: Selection, rooms: readonly string[]): number
  /** Starts the closing handshake of connections. @returns how many were open */
  disconnect(selection: Selection, code: number, reason: string): number
  /** Sends to many connections. @returns how many accepted the message */
  broadcast(recipients: Recipients, data: Payload, options: SendOptions | undefined): number
  /**
   * Sends to one connection.
   * @returns whether it accepted the message; `undefined` when there is no such connection
   */
  sendTo(id: string, data: Payload, options: SendOptions | undefined): boolean | undefined
  /** Publishes a gap to diagnostics and calls the option `onGap`. */
  gapFound(gap: Gap): void
  /** A message that this node published to itself has come back, after so many ms. */
  probeTook(ms: number): void
  /** Publishes the new state of the cluster to diagnostics. */
  stateChanged(state: BackplaneState): void
  /**
   * @param where the option or handler of the application that threw; `undefined` for an error that the
   *   cluster found
   */
  report(error: Error, where?: string): void
}
