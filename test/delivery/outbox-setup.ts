import { Writable } from 'node:stream'
import { expect } from 'vitest'
import type { Origin } from '../../src/delivery/backlog.ts'
import { Delivery } from '../../src/delivery/delivery.ts'
import type { SlowConsumerPolicy } from '../../src/delivery/delivery-options.ts'
import type { DropCount, DropReason } from '../../src/delivery/drop-count.ts'
import { Outbox } from '../../src/delivery/outbox.ts'
import type { SendOptions } from '../../src/protocol/message.ts'
import { turn } from '../support/hub-server.ts'

/** A stream that finishes writes at once while it is open, and otherwise when it is opened. */
export class Valve extends Writable {
  readonly chunks: Buffer[] = []
  isOpen = true
  #held: (() => void) | undefined

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.chunks.push(chunk)
    if (this.isOpen) done()
    else this.#held = done
  }

  /** Finishes the pending write. */
  step(): void {
    const held = this.#held
    this.#held = undefined
    held?.()
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString()
  }
}

export function setUp(
  slowConsumer: SlowConsumerPolicy = 'close',
  maxBufferedBytes = 100,
  highWaterMark = 10,
  maxTotalBufferedBytes = 10_000_000,
) {
  const delivery = new Delivery({
    maxBufferedBytes,
    maxTotalBufferedBytes,
    slowConsumer,
    writeDelayMs: 0,
    enableCompression: false,
  })
  const valve = new Valve({ highWaterMark })
  const owner = {
    writable: true,
    overflows: 0,
    of: undefined as 'client' | 'hub' | undefined, // undefined alone would be its type
    overflow: (of: 'client' | 'hub') => {
      owner.overflows++
      owner.of = of
    },
    reports: [] as [DropReason, DropCount][][], // an empty array is inferred as never[]
    reportDrops: (drops: ReadonlyMap<DropReason, DropCount>) => void owner.reports.push([...drops]),
    resynced: [] as Origin[], // likewise
    resync: (firsts: Iterable<Origin>) => void owner.resynced.push(...firsts),
  }
  const outbox = new Outbox(valve, delivery, owner)
  const send = (text: string, options?: SendOptions, origin?: Origin) =>
    outbox.send(Buffer.from(text), options, origin)
  const sendControl = (text: string) => outbox.sendControl(Buffer.from(text))
  /** Congests the stream with twenty bytes. */
  const congest = async () => {
    valve.isOpen = false
    send('-'.repeat(20))
    await turn()
  }
  const drain = async () => {
    valve.isOpen = true
    valve.step()
    await turn()
  }
  /** Congests the socket with 64 KiB within this turn, as a loop of broadcasts does. */
  const burst = (bytes: number) => {
    valve.isOpen = false
    send('-'.repeat(65_536))
    for (let left = bytes - 65_536; left > 0; left -= 1_000) send('b'.repeat(Math.min(left, 1_000)))
    expect({ buffered: outbox.bufferedBytes, overflows: owner.overflows }).toEqual({
      buffered: bytes,
      overflows: 0,
    })
  }
  return { delivery, valve, owner, outbox, send, sendControl, congest, drain, burst }
}
