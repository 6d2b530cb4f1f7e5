/** Buffers that wait in memory, each counted once, however many connections wait with it. */
export class HeldBuffers {
  readonly #holders = new Map<Buffer, number>()
  #bytes = 0

  /** Bytes of all buffers that are held. */
  get bytes(): number {
    return this.#bytes
  }

  hold(buffer: Buffer): void {
    const holders = this.#holders.get(buffer) ?? 0
    this.#holders.set(buffer, holders + 1)
    if (holders === 0) this.#bytes += buffer.length
  }

  /** Undoes one {@link hold}. */
  release(buffer: Buffer): void {
    const holders = this.#holders.get(buffer)
    if (holders === undefined) return
    if (holders > 1) {
      this.#holders.set(buffer, holders - 1)
      return
    }
    this.#holders.delete(buffer)
    this.#bytes -= buffer.length
  }
}
