/** Whether a backplane is connected to its engine. */
export type BackplaneState = 'connecting' | 'connected' | 'reconnecting' | 'closed'

/** The hub that started a backplane, as the backplane calls it. */
export interface BackplaneListener {
  /**
   * Receives a message of a subscribed channel, even one that this backplane published. The receiver may keep
   * `bytes`.
   */
  onMessage(channel: string, bytes: Buffer): void
  /** Called when `state` has changed. With `connected` after `reconnecting`, all subscriptions work again. */
  onStateChange(state: BackplaneState): void
  /** Receives an error from which the backplane recovers by itself. */
  onError(error: Error): void
}

/**
 * Carries bytes between hubs: at most once, in order for each publisher and channel. The hub chooses the
 * names of channels: at most 200 characters, `A–Z a–z 0–9 _ - .` only.
 */
export interface Backplane {
  readonly state: BackplaneState
  /**
   * Connects to the engine, and reconnects by itself from then on. Called once. Resolves when it is connected
   * for the first time; rejects only when it is closed first, or when its configuration can never work.
   */
  start(listener: BackplaneListener): Promise<void>
  /**
   * Sends to all subscribers.
   * @returns `false`, at once, when it is not connected or too much is waiting to be sent
   */
  publish(channel: string, bytes: Uint8Array): boolean
  /**
   * Subscribes to a channel. Resolves when the engine has confirmed it: messages published from then on are
   * received. While the engine cannot be reached, the promise stays pending; `close` rejects it.
   */
  subscribe(channel: string): Promise<void>
  /** Unsubscribes from a channel. Messages that are on their way may still arrive. */
  unsubscribe(channel: string): void
  /**
   * Closes connections and stops timers, after sending what was published before, within a bounded time.
   * @param timeoutMs how long the hub can wait for the engine to receive it; a backplane may take a second
   *   even if that is less
   */
  close(timeoutMs?: number): Promise<void>
}
