import type { Mark } from 'wshub'

interface Seen {
  readonly mark: Mark
  /** The sequence of the stream up to which no later message of the room was stored. */
  readonly upTo: number
}

/**
 * The latest message that was seen of each subscribed room. It may expire, and then the stream does not show
 * any more whether it was the latest: what is remembered here does.
 */
export class SeenHeads {
  readonly #seen = new Map<string, Seen>()

  /** Returns the latest message of a room that was seen in this life of the stream. */
  of(room: string, epoch: string): Mark | undefined {
    const seen = this.#seen.get(room)
    return seen?.mark.epoch === epoch ? seen.mark : undefined
  }

  /**
   * A message is the latest of its room.
   * @param upTo the last sequence of the stream before the room was looked at
   */
  saw(room: string, { epoch, offset, tag }: Mark, upTo = offset): void {
    const seen = this.#seen.get(room)
    if (seen?.mark.epoch !== epoch || seen.mark.offset < offset) {
      this.#seen.set(room, { mark: { epoch, offset, tag }, upTo: Math.max(upTo, offset) })
    } else if (seen.mark.offset === offset && seen.upTo < upTo) {
      this.#seen.set(room, { mark: seen.mark, upTo })
    }
  }

  /**
   * The stream has no message of a room any more: the latest one is still the latest, if none that was stored
   * after it was removed.
   * @param upTo the last sequence of the stream before the room was looked at
   * @param firstSequence the first sequence of the stream after that
   */
  sawNone(room: string, epoch: string, upTo: number, firstSequence: number): void {
    const mark = this.of(room, epoch)
    if (mark !== undefined && this.isLatest(room, mark, firstSequence)) this.saw(room, mark, upTo)
  }

  /**
   * Returns whether a message was the latest of its room, and none that was stored after it was removed.
   * @param firstSequence the first sequence of the stream
   */
  isLatest(room: string, { epoch, offset, tag }: Mark, firstSequence: number): boolean {
    const seen = this.#seen.get(room)
    if (seen === undefined || seen.mark.epoch !== epoch || seen.mark.offset !== offset) return false
    return (tag === '' || tag === seen.mark.tag) && firstSequence <= seen.upTo + 1
  }

  delete(room: string): void {
    this.#seen.delete(room)
  }

  clear(): void {
    this.#seen.clear()
  }
}
