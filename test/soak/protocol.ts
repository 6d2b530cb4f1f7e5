import type { HubStats } from 'wshub'

/** What became of the messages of one connection. */
export interface Account {
  readonly id: string
  /** Messages given to the hub for it while it was open. */
  attempts: number
  /** Of these, those that `onDrop` has told of. */
  dropped: number
  /** Messages that came from it. */
  heard: number
  /** What `onClose` was given. */
  code: number
  reason: string
  /** It said goodbye, and all it said it had sent has come. */
  isGraceful: boolean
}

/** What a server holds. */
export interface Snapshot {
  readonly heapBytes: number
  readonly resources: readonly string[]
  readonly timers: number
  readonly rooms: number
  readonly accounts: number
  /** Requests that something still refers to. */
  readonly requests: number
  readonly listeners: number
  readonly stats: HubStats
}

/** To the server. */
export type Command = 'snapshot' | 'stop'

/** From the server. */
export type Report = { port: number } | { account: Account } | { snapshot: Snapshot }
