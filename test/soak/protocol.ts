import type { HubStats } from 'wshub'

/** The fate of the messages of one connection. */
export interface Account {
  readonly id: string
  /** Messages passed to the hub for it while it was open. */
  attempts: number
  /** Attempts that were reported to `onDrop`. */
  dropped: number
  /** Messages received from it. */
  heard: number
  /** The arguments of `onClose`. */
  code: number
  reason: string
  /** Whether it closed cleanly, and all messages it reported as sent have arrived. */
  isGraceful: boolean
}

/** The objects that a server holds. */
export interface Snapshot {
  readonly heapBytes: number
  readonly resources: readonly string[]
  readonly timers: number
  readonly rooms: number
  readonly accounts: number
  /** Requests that are still referenced. */
  readonly requests: number
  readonly listeners: number
  readonly stats: HubStats
}

/** To the server. */
export type Command = 'snapshot' | 'stop'

/** From the server. */
export type Report = { port: number } | { account: Account } | { snapshot: Snapshot }
