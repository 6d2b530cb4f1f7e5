/** The orders in which a page lists rooms and clients. */
const ROOM_ORDERS = ['size', 'traffic'] as const
const CLIENT_ORDERS = ['buffered', 'drops', 'rtt', 'oldest', 'newest'] as const
export type RoomOrder = (typeof ROOM_ORDERS)[number]
export type ClientOrder = (typeof CLIENT_ORDERS)[number]

/** The rows of one list on a page, and the most pages that one can turn to. */
export const PAGE_ROWS = 25
export const MAX_PAGES_OF_LIST = 20

/** The most rooms that each node is asked about by name. */
export const MAX_CANDIDATES = 100

const MAX_SEARCH = 100
const MAX_NAME = 1_024
const MAX_QUESTIONS = 8

/** A page's choice of what it shows. */
export interface Query {
  readonly search: string
  readonly roomOrder: RoomOrder
  /** From 0. */
  readonly roomPage: number
  readonly clientOrder: ClientOrder
  readonly clientPage: number
}

/** A room or client whose messages a page shows. */
export interface Followed {
  readonly kind: 'room' | 'client'
  readonly target: string
}

/** A question about what is followed: each page has a key of its own, so that none takes another's events. */
export interface FollowQuestion extends Followed {
  readonly key: string
  readonly payloads: boolean
}

/** The question of a page to each node. */
export interface Question extends Query {
  /** Rooms that other nodes have listed: each node tells about these, also if they are small there. */
  readonly candidates: readonly string[]
  readonly follow: FollowQuestion | undefined
}

/** Returns the members of whatever was received; of anything but an object, none. */
export function membersOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value)) : {}
}

/** Returns JSON that was received; `undefined` when it is none. */
export function parsed(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}

/** Reads a query, whatever was received in its place. */
export function readQuery(value: unknown): Query {
  const { search, roomOrder, roomPage, clientOrder, clientPage } = membersOf(value)
  return {
    search: text(search, MAX_SEARCH),
    roomOrder: ROOM_ORDERS.find((order) => order === roomOrder) ?? 'size',
    roomPage: pageNumber(roomPage),
    clientOrder: CLIENT_ORDERS.find((order) => order === clientOrder) ?? 'buffered',
    clientPage: pageNumber(clientPage),
  }
}

/** Reads what is followed. */
export function readFollowed(value: unknown): Followed | undefined {
  const { kind, target } = membersOf(value)
  if (kind !== 'room' && kind !== 'client') return undefined
  return typeof target === 'string' && target.length <= MAX_NAME ? { kind, target } : undefined
}

/** Reads the questions of another node. */
export function readQuestions(json: string): Question[] {
  const value = parsed(json)
  return (Array.isArray(value) ? value : []).slice(0, MAX_QUESTIONS).map((each) => {
    const { candidates, follow } = membersOf(each)
    const { key, payloads } = membersOf(follow)
    const followed = readFollowed(follow)
    return {
      ...readQuery(each),
      candidates: (Array.isArray(candidates) ? candidates : []).filter(isName).slice(0, MAX_CANDIDATES),
      follow:
        followed === undefined
          ? undefined
          : { ...followed, key: text(key, MAX_SEARCH), payloads: payloads === true },
    }
  })
}

function isName(value: unknown): value is string {
  return typeof value === 'string'
}

function text(value: unknown, most: number): string {
  return typeof value === 'string' ? value.slice(0, most) : ''
}

function pageNumber(value: unknown): number {
  const isPage = typeof value === 'number' && Number.isInteger(value) && value >= 0
  return isPage ? Math.min(value, MAX_PAGES_OF_LIST - 1) : 0
}
