import type { CompressionSettings } from '../delivery/delivery-options.ts'
import type { RateOptions } from './rate-limit.ts'

/** The options of a hub that a connection reads. */
export interface ConnectionOptions {
  readonly maxMessageSize: number
  readonly pongTimeoutMs: number
  readonly openTimeoutMs: number
  readonly closeTimeoutMs: number
  readonly maxBufferedBytes: number
  readonly maxTotalBufferedBytes: number
  readonly enableCompression: CompressionSettings | false
  readonly limits: RateOptions & { readonly maxMetadataEntries: number }
}
