import { Counts } from '../base/counts.ts'

/** Buffers that wait in memory, each counted once, however many connections it waits for. */
export class HeldBuffers {
  readonly #holders = new Counts<Buffer>()
  #bytes = 0

  /** Bytes of all buffers that are held. */
  get bytes(): number {
    return this.#bytes
  }

  hold(buffer: Buffer): void {
    if (this.#holders.add(buffer) === 1) this.#bytes += buffer.length
  }

  /** Undoes one {@link hold}. */
  release(buffer: Buffer): void {
    if (this.#holders.of(buffer) === 0) return
    if (this.#holders.remove(buffer) === 0) this.#bytes -= buffer.length
  }
}
