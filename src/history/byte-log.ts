/** Bytes of the first segment of a log, and of the largest. A longer record has a segment of its own. */
const MIN_SEGMENT_BYTES = 1_024
const MAX_SEGMENT_BYTES = 65_536
/** Approximate bytes of memory that a segment takes in addition to its buffer. */
const SEGMENT_OVERHEAD_BYTES = 256
/** Bytes that an entry takes in addition to its record: its end and its time. */
const ENTRY_OVERHEAD_BYTES = 16

/** A buffer that entries are written into, one after the other. */
interface Segment {
  readonly bytes: Buffer
  /** Where each entry ends, and when it was written, in ms. */
  readonly ends: number[]
  readonly times: number[]
}

/**
 * Byte strings in the order in which they were added, without a Buffer object for each. The oldest are
 * removed first. What was read stays valid, since nothing is written twice.
 */
export class ByteLog {
  readonly #maxSegmentBytes: number
  #segments: Segment[] = []
  /** How many entries of the first segment were removed. */
  #removed = 0
  #length = 0
  #bytes = 0

  /** @param maxSegmentBytes most bytes of the buffers that short records share */
  constructor(maxSegmentBytes: number) {
    this.#maxSegmentBytes = Math.min(MAX_SEGMENT_BYTES, maxSegmentBytes)
  }

  /** How many entries there are. */
  get length(): number {
    return this.#length
  }

  /** Bytes of memory that the log takes. */
  get bytes(): number {
    return this.#bytes
  }

  push(record: Uint8Array, time: number): void {
    const segment = this.#segmentFor(record.length)
    const start = segment.ends.at(-1) ?? 0
    segment.bytes.set(record, start)
    segment.ends.push(start + record.length)
    segment.times.push(time)
    this.#length++
    this.#bytes += ENTRY_OVERHEAD_BYTES
  }

  /** Returns the time of the oldest entry; `undefined` when there is none. */
  get oldestTime(): number | undefined {
    return this.#segments[0]?.times[this.#removed]
  }

  /** Removes the oldest entry. */
  shift(): void {
    const [first] = this.#segments
    if (first === undefined || this.#length === 0) return
    this.#removed++
    this.#length--
    if (this.#removed < first.ends.length) return
    this.#segments.shift()
    this.#bytes -= first.bytes.length + SEGMENT_OVERHEAD_BYTES + first.ends.length * ENTRY_OVERHEAD_BYTES
    this.#removed = 0
  }

  /** Returns entries from an index on, as views: at most the given number and bytes, but at least one. */
  read(from: number, maxEntries: number, maxBytes: number): Buffer[] {
    const read: Buffer[] = []
    let skip = from + this.#removed
    let bytes = 0
    for (const segment of this.#segments) {
      const { ends } = segment
      for (let index = skip; index < ends.length; index++) {
        const start = index === 0 ? 0 : (ends[index - 1] ?? 0)
        const end = ends[index] ?? start
        bytes += end - start
        if (read.length === maxEntries || (read.length > 0 && bytes > maxBytes)) return read
        read.push(segment.bytes.subarray(start, end))
      }
      skip = Math.max(0, skip - ends.length)
    }
    return read
  }

  #segmentFor(bytes: number): Segment {
    const last = this.#segments.at(-1)
    if (last !== undefined && last.bytes.length - (last.ends.at(-1) ?? 0) >= bytes) return last
    const next =
      last === undefined ? MIN_SEGMENT_BYTES : Math.min(this.#maxSegmentBytes, last.bytes.length * 2)
    // Not from the pool: its slab would stay in memory for as long as any buffer cut from it.
    const segment = { bytes: Buffer.allocUnsafeSlow(Math.max(next, bytes)), ends: [], times: [] }
    this.#segments.push(segment)
    this.#bytes += segment.bytes.length + SEGMENT_OVERHEAD_BYTES
    return segment
  }
}
