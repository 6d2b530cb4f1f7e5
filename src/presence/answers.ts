import type { AnsweredRoom, MemberState, PresenceMessage } from '../cluster/wire/presence-message.ts'
import type { PresenceRoom } from './presence-room.ts'

/** About the most bytes of one part of an answer. */
const PART_BYTES = 32_768
/** The most members of a room in an answer to a node that asks all others. */
const BRIEF_MEMBERS = 64
/** An answer to such a node is brief for all further rooms after about this many bytes. */
const MAX_ANSWER_BYTES = 262_144
/** About the bytes that the numbers of a room or a member take. */
const NUMBERS_BYTES = 12

/** A part of an answer. */
export type Answer = Extract<PresenceMessage, { op: 'answer' }>

/**
 * Returns the parts of an answer about rooms that have somebody here.
 * @param isFull whether all members are named, however many
 * @param clock the latest version of this node
 */
export function answersOf(
  id: number,
  rooms: readonly PresenceRoom[],
  isFull: boolean,
  clock: number,
): Answer[] {
  const parts: AnsweredRoom[][] = [[]]
  let bytes = 0
  let total = 0
  const add = (answered: AnsweredRoom, size: number): void => {
    if (bytes > 0 && bytes + size > PART_BYTES) {
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
    const headBytes = 2 * room.name.length + NUMBERS_BYTES
    if (!isFull && (members.length > BRIEF_MEMBERS || total > MAX_ANSWER_BYTES)) {
      add({ ...head, isFirst: true, isLast: true, isBrief: true, members: [] }, headBytes)
      continue
    }
    const pieces = piecesOf(members)
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
function piecesOf(members: readonly MemberState[]): MemberState[][] {
  const pieces: MemberState[][] = [[]]
  let bytes = 0
  for (const member of members) {
    const size = bytesOf([member])
    if (bytes > 0 && bytes + size > PART_BYTES) {
      pieces.push([])
      bytes = 0
    }
    pieces.at(-1)?.push(member)
    bytes += size
  }
  return pieces
}

function bytesOf(members: readonly MemberState[]): number {
  return members.reduce((sum, { user, info = '' }) => sum + user.length + info.length + NUMBERS_BYTES, 0)
}
