import { HubError } from '../base/errors.ts'
import type { FaultDigest } from '../base/fault-digest.ts'
import { runHandler } from '../base/run-handler.ts'
import { syncResult } from '../base/sync-result.ts'
import { textOf } from '../base/thrown.ts'
import type { CompressionSettings } from '../delivery/delivery-options.ts'
import { OutgoingMessage } from '../delivery/outgoing-message.ts'
import { checkPayload, type Payload, payloadBytes } from '../protocol/message.ts'
import type { HistoryHost } from './history-member.ts'
import { HistoryMessage, type MessageLog } from './history-message.ts'
import type { ResolvedHistoryOptions } from './history-options.ts'
import type { Mark, StoredRecord } from './history-store.ts'
import { positionOf } from './position.ts'
import { decodeRecord, type HistoryRecord } from './record.ts'

/** Turns stored records into messages: decodes them, and stamps them with `history.stamp`. */
export class MessageReader {
  readonly #stamp: ResolvedHistoryOptions['stamp']
  readonly #compression: CompressionSettings | false
  readonly #host: HistoryHost
  readonly #faults: FaultDigest

  constructor(
    { stamp }: Pick<ResolvedHistoryOptions, 'stamp'>,
    compression: CompressionSettings | false,
    host: HistoryHost,
    faults: FaultDigest,
  ) {
    this.#stamp = stamp
    this.#compression = compression
    this.#host = host
    this.#faults = faults
  }

  /** Returns a message to deliver; `undefined`, after a report, when the record cannot be read. */
  messageOf(log: MessageLog, stored: StoredRecord, after: Mark): HistoryMessage | undefined {
    const record = this.#decode(stored)
    if (record === undefined) return undefined
    const outgoing = new OutgoingMessage(this.#stamped(log.room, stored, record), this.#compression)
    return new HistoryMessage(log, stored, after, record, outgoing)
  }

  /** Returns the content of a message, as clients receive it; `undefined` as for {@link messageOf}. */
  dataOf(room: string, stored: StoredRecord): string | Buffer | undefined {
    const record = this.#decode(stored)
    if (record === undefined) return undefined
    const data = this.#stamped(room, stored, record)
    return typeof data === 'string' ? data : Buffer.from(payloadBytes(data))
  }

  #decode(stored: StoredRecord): (HistoryRecord & { readonly data: string | Buffer }) | undefined {
    try {
      return decodeRecord(stored.record)
    } catch (cause) {
      const why = textOf(cause, 'message') ?? 'it is malformed'
      this.#faults.add(
        new HubError('WSHUB_ERR_ENVELOPE', `a stored message cannot be read: ${why}`, { cause }),
      )
      return undefined
    }
  }

  #stamped(room: string, stored: StoredRecord, { data }: { readonly data: string | Buffer }): Payload {
    const stamp = this.#stamp
    if (stamp === undefined) return data
    let stamped: Payload = data
    runHandler(
      'the option history.stamp',
      () => {
        // A copy: the application may write into it, and the store keeps the record.
        const copy = typeof data === 'string' ? data : Buffer.from(data)
        const result = stamp(copy, { room, position: positionOf(stored) })
        checkPayload(syncResult('the option history.stamp', result))
        stamped = result
      },
      { failed: (error, where) => this.#host.report(error, where) },
    )
    return stamped
  }
}
