import { checkKeys, integersOf, invalid, type Resolved } from '../base/option-rules.ts'

/** The policy for messages to a client whose `maxBufferedBytes` are used up. */
export type SlowConsumerPolicy = 'close' | 'dropNewest' | 'dropOldest' | 'conflate' | 'resync'

/** Settings of compression. Every key is optional; an explicit `undefined` means the default. */
export interface CompressionOptions {
  /** Messages of fewer bytes are not compressed, 0 or more; 0 = all are. Default 512. */
  thresholdBytes?: number | undefined
  /**
   * Messages of more bytes are not compressed, 1 or more: compression blocks the event loop for some 20 ms a
   * MiB. Default 1 048 576.
   */
  maxBytes?: number | undefined
  /** zlib's level, 1 to 9: from the fastest to the smallest. Default 6. */
  level?: number | undefined
  /**
   * zlib's memory level, 1 to 9: at most 2^(memLevel + 9) bytes while a message is compressed, in addition to
   * its window. Default 8.
   */
  memLevel?: number | undefined
  /**
   * The text that a compressed message may refer to: `'none'`, only its own; `'shared'`, also the messages
   * before it, for broadcasts and messages to rooms of 16 to `windowBytes` bytes, also shorter than
   * `thresholdBytes`. Then whoever can choose the text of some of them can guess secrets in others from
   * their length. Default `'none'`.
   */
  window?: CompressionWindow | undefined
  /** How much of the messages before a `'shared'` window holds, 512 to 32 768 bytes. Default 4 096. */
  windowBytes?: number | undefined
  /** How often a message is compressed at most for clients with `'shared'` windows, 2 or more. Default 4. */
  maxDeflates?: number | undefined
}

/** The messages that a compressed message may refer to. */
export type CompressionWindow = 'none' | 'shared'

/** {@link CompressionOptions} with every default in place. */
export type CompressionSettings = Resolved<CompressionOptions>

/** The options of a hub that its outboxes use. */
export interface DeliveryOptions {
  readonly maxBufferedBytes: number
  readonly maxTotalBufferedBytes: number
  readonly slowConsumer: SlowConsumerPolicy
  readonly writeDelayMs: number
  readonly enableCompression: CompressionSettings | false
}

/** The defaults of {@link CompressionOptions}. */
export const COMPRESSION_DEFAULTS = Object.freeze({
  thresholdBytes: 512,
  maxBytes: 1_048_576,
  level: 6,
  memLevel: 8,
  window: 'none',
  windowBytes: 4_096,
  maxDeflates: 4,
} satisfies CompressionOptions)

const WINDOWS: readonly CompressionWindow[] = ['none', 'shared']

const POLICIES: readonly SlowConsumerPolicy[] = ['close', 'dropNewest', 'dropOldest', 'conflate', 'resync']

/** Returns the policy. @throws {HubError} WSHUB_ERR_INVALID_OPTION */
export function readSlowConsumer(policy: SlowConsumerPolicy): SlowConsumerPolicy {
  if (!POLICIES.includes(policy)) throw invalid('slowConsumer', `is one of ${POLICIES.join(', ')}`, policy)
  return policy
}

/**
 * Returns the settings, frozen; `false` = never compress.
 * @throws {HubError} WSHUB_ERR_INVALID_OPTION for wrong settings, and for any on Deno
 */
export function readCompression(option: boolean | CompressionOptions): CompressionSettings | false {
  if (option === false) return false
  const options = option === true ? {} : option
  if (typeof options !== 'object' || options === null) {
    throw invalid('enableCompression', 'is true, false or an object', options)
  }
  if (process.versions.deno !== undefined) {
    // Deno calls `ws` back after its stream is closed: a client that disconnects then ends the process.
    throw invalid('enableCompression', 'is false on Deno, whose zlib can end the process', option)
  }
  checkKeys(options, COMPRESSION_DEFAULTS, 'a setting of enableCompression')
  const integer = integersOf(options, COMPRESSION_DEFAULTS, 'enableCompression.')
  const { window = COMPRESSION_DEFAULTS.window } = options
  if (!WINDOWS.includes(window)) throw invalid('enableCompression.window', "is 'none' or 'shared'", window)
  return Object.freeze({
    thresholdBytes: integer('thresholdBytes', 0),
    maxBytes: integer('maxBytes', 1),
    level: integer('level', 1, 9),
    memLevel: integer('memLevel', 1, 9),
    window,
    windowBytes: integer('windowBytes', 512, 32_768),
    maxDeflates: integer('maxDeflates', 2),
  })
}
