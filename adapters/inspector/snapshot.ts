import type { Sample } from './followers.ts'
import { CLIENT_WEIGHTS, type ClientRow, ROOM_WEIGHTS, type RoomRow } from './listing.ts'
import type { NodeRow, Reply, Report } from './node-report.ts'
import { MAX_CANDIDATES, MAX_PAGES_OF_LIST, PAGE_ROWS, type Question } from './query.ts'

/** The most events of each kind on a page. */
const MAX_EVENTS = 50

/** One page of a list. */
export interface ListPage<Row> {
  readonly rows: readonly Row[]
  readonly matching: number
  /** From 0. It is the last page if the requested one no longer exists. */
  readonly page: number
  /** The number of pages that one can turn to. */
  readonly pages: number
}

/** The state of a cluster, as a page shows it. */
export interface Snapshot {
  readonly nodes: readonly NodeRow[]
  readonly rooms: ListPage<RoomRow>
  /** The rooms to ask every node about the next time. */
  readonly candidates: readonly string[]
  readonly clients: ListPage<ClientRow>
  /** Whether a node has not made its lists yet. */
  readonly isSearching: boolean
  readonly followed: {
    readonly isHere: boolean
    /** The nodes that follow as much as they may. */
    readonly notBy: readonly string[]
    readonly samples: readonly (Sample & { readonly node: string })[]
    readonly skipped: number
  }
  readonly ends: readonly object[]
  readonly refusals: readonly object[]
  readonly gaps: readonly object[]
  readonly errors: readonly object[]
}

/** Merges the answers of the nodes for one page. @param at the place of its question in each of them */
export function snapshotOf(reports: readonly Report[], at: number, question: Question): Snapshot {
  const replies = reports.flatMap(({ replies }) => replies[at] ?? [])
  const followed = reports.flatMap(({ row: { node }, replies }) => {
    const report = replies[at]?.followed
    return report === undefined ? [] : [{ node, ...report }]
  })
  const rooms = roomsOf(replies, question)
  return {
    nodes: reports.map(({ row }) => row),
    rooms: listPage(rooms, question.roomPage, matchingOf(replies, rooms)),
    candidates: rooms.slice(0, MAX_CANDIDATES).map(({ room }) => room),
    clients: clientsOf(replies, question),
    isSearching: replies.some(({ isComplete }) => !isComplete),
    followed: {
      isHere: followed.some(({ isHere }) => isHere),
      notBy: followed.filter(({ isFollowed }) => !isFollowed).map(({ node }) => node),
      samples: followed
        .flatMap(({ node, samples }) => samples.map((sample) => ({ node, ...sample })))
        .sort((a, b) => a.at - b.at),
      skipped: followed.reduce((sum, { skipped }) => sum + skipped, 0),
    },
    ends: latest(reports, 'ends'),
    refusals: latest(reports, 'refusals'),
    gaps: latest(reports, 'gaps'),
    errors: latest(reports, 'errors'),
  }
}

function roomsOf(replies: readonly Reply[], { roomOrder }: Question): RoomRow[] {
  const rooms = new Map<string, RoomRow>()
  for (const reply of replies) {
    // A room may be in both lists of a node.
    const ofNode = new Map([...reply.candidates, ...reply.rooms].map((row) => [row.room, row]))
    for (const row of ofNode.values()) {
      const known = rooms.get(row.room)
      if (known === undefined) rooms.set(row.room, row)
      else rooms.set(row.room, sum(known, row))
    }
  }
  const listed = new Set(replies.flatMap(({ rooms: rows }) => rows.map(({ room }) => room)))
  const weight = ROOM_WEIGHTS[roomOrder]
  return [...rooms.values()].filter(({ room }) => listed.has(room)).sort((a, b) => weight(b) - weight(a))
}

/** Returns the least number of rooms that match: nodes may share rooms that are not listed. */
function matchingOf(replies: readonly Reply[], listed: readonly RoomRow[]): number {
  return Math.max(listed.length, ...replies.map(({ matchingRooms }) => matchingRooms))
}

/** Each node has sent a message to its own members once. */
function sum(a: RoomRow, b: RoomRow): RoomRow {
  return {
    room: a.room,
    size: a.size + b.size,
    messages: Math.max(a.messages, b.messages),
    deliveries: a.deliveries + b.deliveries,
    bytes: a.bytes + b.bytes,
  }
}

function clientsOf(replies: readonly Reply[], { clientOrder, clientPage }: Question): ListPage<ClientRow> {
  const weight = CLIENT_WEIGHTS[clientOrder]
  const rows = replies.flatMap(({ clients }) => clients).sort((a, b) => weight(b) - weight(a))
  const matching = replies.reduce((total, { matchingClients }) => total + matchingClients, 0)
  return listPage(rows, clientPage, matching)
}

function listPage<Row>(rows: readonly Row[], asked: number, matching: number): ListPage<Row> {
  const pages = Math.min(MAX_PAGES_OF_LIST, Math.max(1, Math.ceil(matching / PAGE_ROWS)))
  const page = Math.min(asked, pages - 1)
  return { page, rows: rows.slice(page * PAGE_ROWS, (page + 1) * PAGE_ROWS), matching, pages }
}

function latest(reports: readonly Report[], kind: 'ends' | 'refusals' | 'gaps' | 'errors'): object[] {
  return reports
    .flatMap((report) => report[kind].map((event) => ({ node: report.row.node, ...event })))
    .sort((a, b) => b.at - a.at)
    .slice(0, MAX_EVENTS)
}
