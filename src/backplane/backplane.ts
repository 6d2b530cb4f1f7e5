/** Whether a backplane reaches its engine. */
export type BackplaneState = 'connecting' | 'connected' | 'reconnecting' | 'closed'

/** What a backplane tells the hub that started it. */
export interface BackplaneListener {
  /** A message came on a subscribed channel; also one that this very backplane published. `bytes` are the receiver's to keep. */
  onMessage(channel: string, bytes: Buffer): void
  /** `state` changed. On `connected` after `reconnecting` every subscription is live again. */
  onStateChange(state: BackplaneState): void
  /** Something went wrong that the backplane recovers from by itself. */
  onError(error: Error): void
}

/**
 * Carries bytes between hubs: at most once, in order for each publisher and channel. Channel names are given by the hub and are made
 * of `A–Z a–z 0–9 _ - .` only, at most 200 characters.
 */
export interface Backplane {
  readonly state: BackplaneState
  /**
   * Connects. Called once. Resolves when the engine is reached for the first time; rejects only when it was closed before that or the
   * configuration can never work. While the engine is away it keeps trying by itself.
   */
  start(listener: BackplaneListener): Promise<void>
  /** Sends to all subscribers. Returns at once; `false` when it was not accepted: not connected, or too much is waiting. */
  publish(channel: string, bytes: Uint8Array): boolean
  /** Resolves when the engine has confirmed: what others publish from then on comes. While the engine is away it waits for its return. */
  subscribe(channel: string): Promise<void>
  /** Messages of the channel end soon. */
  unsubscribe(channel: string): void
  /** Lets go of connections and timers. What was published before is sent first, for a bounded time. */
  close(): Promise<void>
}
