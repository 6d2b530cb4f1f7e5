/** The order of events in a simulation: a number that grows with each. */
export type Order = number
export const NEVER: Order = Number.POSITIVE_INFINITY

/** The rooms without a history. */
export const ROOMS = ['r0', 'r1', 'r2'] as const

/** A message, as the application that published it knows it. */
export interface Sent {
  readonly id: string
  /** The node that published it. */
  readonly by: string
  /** One room, several, all connections, or one connection. */
  readonly scope: 'room' | 'union' | 'everyone' | 'direct'
  readonly rooms: readonly string[]
  /** The only receiver, in the scope `direct`. */
  readonly to: string | undefined
  /** Connections that do not receive it, and rooms whose members do not. */
  readonly exceptIds: readonly string[]
  readonly exceptRooms: readonly string[]
  readonly order: Order
  /** When it was published, in ms. */
  readonly at: number
  /** Whether the engine has accepted it; `undefined` while it waits for the cluster. */
  isAccepted: boolean | undefined
}

/** The time for which a connection is in a room. */
export interface Membership {
  readonly room: string
  /** The node that asked for it: its calls take effect in their order. */
  readonly by: string
  /** It may be in the room from here on. */
  readonly from: Order
  /** It is certainly in the room, and receives the messages of its own node. */
  sureHere: Order
  /** It receives the messages of all nodes. */
  sureAll: Order
  /** It may have left from here on. */
  until: Order
  /** It has certainly left. */
  gone: Order
}

/** One connection, from its `onOpen` on. */
export interface Session {
  readonly name: string
  readonly node: string
  /** Its id in the hub. */
  readonly id: string
  isOpen: boolean
  readonly received: Set<string>
  readonly memberships: Membership[]
  /** Messages that its node reported as dropped. */
  drops: number
  /** The latest message of each sequence. */
  readonly latest: Map<string, Order>
}

/** Used in place of a room: for messages to all connections, and to one. */
export const EVERYONE = '*'
export const DIRECT = '@'

/** Returns the membership that has not ended. */
export function membershipOf(session: Session, room: string): Membership | undefined {
  return session.memberships.find((membership) => membership.room === room && membership.until === NEVER)
}

/**
 * Returns the rooms that a connection is certainly in; `undefined` when that is not known for one of them.
 */
export function surelyIn(session: Session): string[] | undefined {
  const open = session.memberships.filter(
    ({ gone, room }) => gone === NEVER && room !== EVERYONE && room !== DIRECT,
  )
  if (open.some(({ sureHere, until }) => sureHere === NEVER || until !== NEVER)) return undefined
  return open.map(({ room }) => room)
}

/** Returns whether a connection has been in a room since then. */
export function isSurelyIn(session: Session, name: string, since: Order): boolean {
  return session.memberships.some(
    ({ room, sureHere, until }) => room === name && sureHere < since && until === NEVER,
  )
}

/** Returns whether a message is published in a room, or in the scope that is used in place of one. */
export function isIn({ scope, rooms }: Sent, place: string): boolean {
  if (scope === 'direct') return false
  return scope === 'everyone' ? place === EVERYONE : rooms.includes(place)
}

/** Returns whether a connection may be one of those that do not receive a message. */
export function mayExclude(session: Session, { exceptIds, exceptRooms, order }: Sent): boolean {
  if (exceptIds.includes(session.name)) return true
  return session.memberships.some(({ room, gone }) => exceptRooms.includes(room) && gone > order)
}
