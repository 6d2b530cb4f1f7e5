import { DueQueue } from '../base/due-queue.ts'
import type { Recorder } from '../base/meters.ts'
import { Congestion } from './congestion.ts'
import type { DeliveryOptions, SlowConsumerPolicy } from './delivery-options.ts'
import { type DropCount, type DropReason, noDrops } from './drop-count.ts'
import type { FlushHistogram } from './flush-bounds.ts'
import { type Flushable, FlushLoop } from './flush-loop.ts'
import { SharedWindows } from './shared-windows.ts'

/**
 * The share of `maxBufferedBytes` that replays fill, since live messages need some of it as well, and the
 * most bytes: a message that waits takes memory beside its bytes, and more is read when the client reads.
 */
const REPLAY_SHARE = 1 / 2
const MAX_REPLAY_BYTES = 131_072

/** Interval, in ms, at which an outbox checks whether its socket has written what waited in it. */
const ROOM_POLL_MS = 20

/** The state that the outboxes of one hub share. */
export class Delivery {
  readonly maxBufferedBytes: number
  /** Bytes of a client that may wait while a replay to it goes on. */
  readonly maxReplayBytes: number
  readonly slowConsumer: SlowConsumerPolicy
  readonly loop: FlushLoop
  readonly congestion: Congestion
  /** Outboxes that wait for a socket that is not congested: no event says when it has written. */
  readonly polled = new DueQueue<Flushable>(ROOM_POLL_MS, (outbox) => outbox.delayPassed())
  /** Only when clients share compression windows. */
  readonly windows: SharedWindows | undefined
  /** Everything that was dropped, by reason. */
  readonly dropped: Readonly<Record<DropReason, DropCount>> = {
    dropNewest: noDrops(),
    dropOldest: noDrops(),
    conflate: noDrops(),
    resync: noDrops(),
    volatile: noDrops(),
    overflow: noDrops(),
    closed: noDrops(),
  }

  constructor(options: DeliveryOptions, meters?: Recorder<FlushHistogram>) {
    const { maxBufferedBytes, maxTotalBufferedBytes, slowConsumer, writeDelayMs } = options
    const { enableCompression: settings } = options
    this.loop = new FlushLoop(writeDelayMs, meters)
    this.maxBufferedBytes = maxBufferedBytes
    this.maxReplayBytes = Math.min(maxBufferedBytes * REPLAY_SHARE, MAX_REPLAY_BYTES)
    this.slowConsumer = slowConsumer
    this.congestion = new Congestion(maxTotalBufferedBytes, slowConsumer === 'resync')
    const isShared = settings !== false && settings.window === 'shared'
    this.windows = isShared ? new SharedWindows(settings) : undefined
  }

  /** Stops the timers. */
  stop(): void {
    this.loop.stop()
    this.congestion.stop()
    this.polled.close()
  }
}
