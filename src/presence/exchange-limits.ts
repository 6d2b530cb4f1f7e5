/** About the most bytes that an envelope takes in addition to its rooms and their members. */
const ENVELOPE_OVERHEAD_BYTES = 256

/** The settings of the cluster that concern the exchange of presence. */
export interface ExchangeLimits {
  /** Time, in ms, for the other nodes to answer. */
  readonly callTimeoutMs: number
  readonly maxEnvelopeBytes: number
}

/**
 * Returns how many bytes of rooms or members fit into a message: at most `mostBytes`, and into one envelope.
 */
export function contentBytes({ maxEnvelopeBytes }: ExchangeLimits, mostBytes: number): number {
  return Math.min(mostBytes, maxEnvelopeBytes - ENVELOPE_OVERHEAD_BYTES)
}
