import {
  type AnsweredRoom,
  answeredBytes,
  type MemberState,
  memberBytes,
  type PresenceMessage,
} from '../cluster/wire/presence-message.ts'
import { contentBytes, type ExchangeLimits } from './exchange-limits.ts'
import type { PresenceRoom } from './presence-room.ts'

/** The most bytes of one part of an answer. */
const PART_BYTES = 32_768
/** The most members of a room that are named in an answer to a question to all nodes. */
const BRIEF_MEMBERS = 64
/** Bytes of such an answer after which no members of further rooms are named. */
const MAX_ANSWER_BYTES = 262_144

/** A part of an answer. */
export type Answer = Extract<PresenceMessage, { op: 'answer' }>

/**
 * Returns the parts of an answer about rooms that have connections here.
 * @param isFull whether all members are named, however many there are
 * @param clock the latest version of this node
 */
export function answersOf(
  id: number,
  rooms: readonly PresenceRoom[],
  isFull: boolean,
  clock: number,
  limits: ExchangeLimits,
): Answer[] {
  const partBytes = contentBytes(limits, PART_BYTES)
  const parts: AnsweredRoom[][] = [[]]
  let bytes = 0
  let total = 0
  const add = (answered: AnsweredRoom, size: number): void => {
    if (bytes > 0 && bytes + size > partBytes) {
      parts.push([])
      bytes = 0
    }
    parts.at(-1)?.push(answered)
    bytes += size
    total += size
  }
  for (const room of rooms) {
    const snapshot = room.snapshot()
    const { version, users, anonymous, isListed, members } = snapshot
    const head = { room: room.name, version, users, anonymous, isListed }
    const headBytes = answeredBytes(room.name)
    if (!isFull && (members.length > BRIEF_MEMBERS || total > MAX_ANSWER_BYTES)) {
      add({ ...head, isFirst: true, isLast: true, isBrief: true, members: [] }, headBytes)
      continue
    }
    const pieces = piecesOf(members, partBytes - headBytes)
    pieces.forEach((piece, index) => {
      const [isFirst, isLast] = [index === 0, index === pieces.length - 1]
      add({ ...head, isFirst, isLast, isBrief: false, members: piece }, headBytes + bytesOf(piece))
    })
  }
  return parts.map((answered, part) => {
    return { op: 'answer', id, clock, part, isLast: part === parts.length - 1, rooms: answered }
  })
}

/** Cuts members into pieces of a bounded size; one empty piece for none. */
function piecesOf(members: readonly MemberState[], mostBytes: number): MemberState[][] {
  const pieces: MemberState[][] = [[]]
  let bytes = 0
  for (const member of members) {
    const size = memberBytes(member)
    if (bytes > 0 && bytes + size > mostBytes) {
      pieces.push([])
      bytes = 0
    }
    pieces.at(-1)?.push(member)
    bytes += size
  }
  return pieces
}

function bytesOf(members: readonly MemberState[]): number {
  return members.reduce((sum, member) => sum + memberBytes(member), 0)
}
