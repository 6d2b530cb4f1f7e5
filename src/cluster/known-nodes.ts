/** How many other nodes are known at once; further ones are not. */
const MAX_NODES = 10_000

/**
 * The other nodes of a cluster, by their heartbeats. Silence is counted in beats of this node's own timer: a node that was
 * stopped for a while does not take all others for dead when it goes on.
 */
export class KnownNodes {
  readonly #maxSilentBeats: number
  /** Beats since a node was last heard. */
  readonly #silence = new Map<string, number>()

  constructor(maxSilentBeats: number) {
    this.#maxSilentBeats = maxSilentBeats
  }

  /** How many are known. */
  get size(): number {
    return this.#silence.size
  }

  ids(): string[] {
    return [...this.#silence.keys()]
  }

  has(node: string): boolean {
    return this.#silence.has(node)
  }

  /** A sign of life has come. */
  heartbeatOf(node: string): void {
    if (this.#silence.size < MAX_NODES || this.#silence.has(node)) this.#silence.set(node, 0)
  }

  /** The node has said that it goes. */
  leave(node: string): void {
    this.#silence.delete(node)
  }

  /** All have their full time again: this node could not hear them. */
  resetSilence(): void {
    for (const node of this.#silence.keys()) this.#silence.set(node, 0)
  }

  /** One more beat has passed; returns those whose time is over, which are forgotten. */
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
