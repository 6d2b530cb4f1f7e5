import { askedBytes } from '../cluster/wire/presence-message.ts'
import type { PresenceRoom } from './presence-room.ts'

/** Cuts rooms into batches whose questions have a bounded size. */
export function batchesOf(rooms: readonly PresenceRoom[], mostBytes: number): PresenceRoom[][] {
  const batches: PresenceRoom[][] = []
  let bytes = Number.POSITIVE_INFINITY
  for (const room of rooms) {
    const size = askedBytes(room.name)
    if (bytes + size > mostBytes) {
      batches.push([])
      bytes = 0
    }
    batches.at(-1)?.push(room)
    bytes += size
  }
  return batches
}
