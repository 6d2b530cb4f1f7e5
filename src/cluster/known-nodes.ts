/** The number of other nodes that are known at once; further ones are ignored. */
const MAX_NODES = 10_000

/**
 * The other nodes of a cluster, by their heartbeats. Silence is counted in heartbeats of this node, so a
 * paused process does not declare every other node dead when it resumes.
 */
export class KnownNodes {
  readonly #maxSilentBeats: number
  /** Beats since the latest heartbeat of each node. */
  readonly #silence = new Map<string, number>()

  constructor(maxSilentBeats: number) {
    this.#maxSilentBeats = maxSilentBeats
  }

  /** The number of known nodes. */
  get size(): number {
    return this.#silence.size
  }

  ids(): string[] {
    return [...this.#silence.keys()]
  }

  has(node: string): boolean {
    return this.#silence.has(node)
  }

  /** Adds a node, or ends its silence. */
  heartbeatOf(node: string): void {
    if (this.#silence.size < MAX_NODES || this.#silence.has(node)) this.#silence.set(node, 0)
  }

  /** Removes a node that has left. */
  leave(node: string): void {
    this.#silence.delete(node)
  }

  /** Ends the silence of all nodes, since this node could not receive their heartbeats. */
  resetSilence(): void {
    for (const node of this.#silence.keys()) this.#silence.set(node, 0)
  }

  /** Counts one more beat. @returns the nodes that have been silent for too long; they are removed */
  beat(): string[] {
    const gone: string[] = []
    for (const [node, silence] of this.#silence) {
      if (silence < this.#maxSilentBeats) {
        this.#silence.set(node, silence + 1)
      } else {
        this.#silence.delete(node)
        gone.push(node)
      }
    }
    return gone
  }
}
