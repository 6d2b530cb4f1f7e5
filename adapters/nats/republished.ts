import type { Msg } from '@nats-io/transport-node'
import type { StoredRecord } from 'wshub'
import { TAG } from './jetstream-api.ts'

/** Packs a message that a stream has passed on: sequence, previous sequence, tag and record. */
export function packRepublished({ headers, data }: Msg): Buffer {
  const tag = Buffer.from(headers?.get(TAG) ?? '', 'latin1')
  const head = Buffer.alloc(17)
  head.writeBigUInt64BE(BigInt(headers?.get('Nats-Sequence') || 0), 0)
  head.writeBigUInt64BE(BigInt(headers?.get('Nats-Last-Sequence') || 0), 8)
  head[16] = tag.length
  return Buffer.concat([head, tag, data])
}

/** Reads what {@link packRepublished} returned. */
export function unpackRepublished(bytes: Buffer): Omit<StoredRecord, 'epoch'> {
  const tagEnd = 17 + (bytes[16] ?? 0)
  return {
    offset: Number(bytes.readBigUInt64BE(0)),
    previous: Number(bytes.readBigUInt64BE(8)),
    tag: bytes.toString('latin1', 17, tagEnd),
    record: bytes.subarray(tagEnd),
  }
}
