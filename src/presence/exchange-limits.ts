/** About the most bytes of an envelope around its rooms and their members. */
const ENVELOPE_OVERHEAD_BYTES = 256

/** The settings of the cluster that concern the exchange of presence. */
export interface ExchangeLimits {
  /** Time, in ms, for the other nodes to answer. */
  readonly callTimeoutMs: number
  readonly maxEnvelopeBytes: number
}

/** Returns how many bytes of rooms or members go into a message that has at most so many. */
export function contentBytes({ maxEnvelopeBytes }: ExchangeLimits, mostBytes: number): number {
  return Math.min(mostBytes, maxEnvelopeBytes - ENVELOPE_OVERHEAD_BYTES)
}
