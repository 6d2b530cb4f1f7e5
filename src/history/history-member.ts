import type { Origin } from '../delivery/backlog.ts'
import type { OutgoingMessage } from '../delivery/outgoing-message.ts'
import type { SendOptions } from '../protocol/message.ts'

/** The outbox of a client, as the history of its rooms uses it. */
export interface MemberOutbox {
  /** No longer drops the messages of a log that wait now, although they can be read again. */
  pin(log: object): void
  /** Whether this many more bytes may wait for the client without coming close to its limit. */
  hasRoomFor(bytes: number): boolean
  /** Calls `then` once when less waits for the client, unless it is closed by then. */
  awaitRoom(then: () => void): void
  /** Does not call `then` any more. */
  stopAwaitingRoom(then: () => void): void
}

/** A connection of this process, as the history of its rooms uses it. */
export interface HistoryMember {
  readonly id: string
  /** Whether it accepts messages: `false` once it is being closed. */
  readonly isOpen: boolean
  readonly outbox: MemberOutbox
  /**
   * Queues a message that is shared with others; `false` when it was not accepted.
   * @param origin where it can be read again
   */
  deliver(message: OutgoingMessage, options: SendOptions | undefined, origin?: Origin): boolean
  /** Messages of a room were lost for this connection, and cannot be replayed. */
  fellBehind(room: string): void
}

/** A message of a room with a history, as the hub tells of it. */
export interface DeliveredMessage {
  readonly log: { readonly room: string }
  readonly outgoing: OutgoingMessage
  readonly exceptIds: readonly string[]
  readonly exceptRooms: readonly string[]
}

/** The hub of this process, as the history of its rooms uses it. */
export interface HistoryHost {
  /** The members of a room, live. */
  members(room: string): ReadonlySet<HistoryMember>
  inRoom(member: HistoryMember, room: string): boolean
  /** Returns the rooms that a member is in. */
  roomsOf(member: HistoryMember): Iterable<string>
  /** A message is about to be delivered to that many members. */
  delivering(message: OutgoingMessage, members: number): void
  /** A message was accepted for this many connections. */
  delivered(recipients: number, message: DeliveredMessage): void
  /** @param where names the code of the application that threw, if it did */
  report(error: Error, where?: string): void
}
