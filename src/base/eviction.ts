/** Has its keys in the order of their arrival: a `Map` or a `Set`. */
interface Keyed<Key> {
  keys(): IterableIterator<Key>
}

/** Which part of a limit is evicted at once. */
const SHARE = 1 / 64

/**
 * Returns the oldest keys of a Map or a Set that has reached a limit, to be deleted: one, or a sixty-fourth of the limit.
 *
 * An iterator from the start passes all keys that were deleted since the table last grew, 69 µs for 100,000, so it has to pay for
 * many. It must not be kept for the next time either: V8 keeps every table that a Map or a Set has outgrown alive for an iterator
 * that does not move.
 */
export function oldestKeys<Key>(of: Keyed<Key>, limit: number): Key[] {
  const most = Math.max(1, Math.floor(limit * SHARE))
  const oldest: Key[] = []
  for (const key of of.keys()) {
    if (oldest.push(key) === most) break
  }
  return oldest
}
