import {
  invalidOption,
  readInteger,
  readMaxPendingBytes,
  readName,
  readTimeout,
} from '../backplane/backplane-options.ts'
import type { StreamConfig } from './jetstream-api.ts'
import type { NatsPlace } from './nats-backplane.ts'
import { checkNatsOptions } from './nats-options.ts'

/** Where NATS is, and how much the stream keeps. An explicit `undefined` means the default. */
export type JetStreamHistoryOptions = NatsPlace & {
  /**
   * The name of the stream, and the beginning of its subjects: 1 to 64 characters, `A–Z a–z 0–9 _ -` only.
   * Default `wshub`.
   */
  stream?: string | undefined
  /** Where messages are kept: `file`, or `memory`, which a restart of the server empties. Default `file`. */
  storage?: 'file' | 'memory' | undefined
  /** How many servers keep each message, 1 to 5. Default 1. */
  replicas?: number | undefined
  /** Most messages kept of a room, 1 or more. Default 1 000. */
  maxMessagesPerRoom?: number | undefined
  /** Time, in ms, for which a message is kept, 1 000 or more. Default 3 600 000. */
  maxAgeMs?: number | undefined
  /** Most bytes that the stream takes, 1 or more. Default 268 435 456. */
  maxBytes?: number | undefined
  /** Most bytes that may wait for an answer, 1 or more. Default 16 777 216. */
  maxPendingBytes?: number | undefined
  /** Time, in ms, after which a request that has no answer fails, 1 to 2 147 483 647. Default 5 000. */
  timeoutMs?: number | undefined
}

const DEFAULTS = {
  stream: 'wshub',
  storage: 'file',
  replicas: 1,
  maxMessagesPerRoom: 1_000,
  maxAgeMs: 3_600_000,
  maxBytes: 268_435_456,
  timeoutMs: 5_000,
} as const
const NS_PER_MS = 1_000_000
/** The longest time, in ms, that JetStream takes, about: it counts ns. */
const MAX_AGE_MS = 2 ** 40

/** The options with every default in place, as JetStream takes them. */
export interface ResolvedJetStreamOptions {
  readonly config: StreamConfig
  readonly timeoutMs: number
  readonly maxPendingBytes: number
  /** Where NATS is. */
  readonly place: NatsPlace
}

/** Checks the options of a history. @throws {HubError} WSHUB_ERR_INVALID_OPTION */
export function readJetStreamOptions(options: JetStreamHistoryOptions): ResolvedJetStreamOptions {
  checkNatsOptions(options, [...Object.keys(DEFAULTS), 'maxPendingBytes'])
  const { stream, storage, replicas, maxMessagesPerRoom, maxAgeMs, maxBytes, timeoutMs, ...place } = options
  const name = readName('stream', stream ?? DEFAULTS.stream)
  if (storage !== undefined && storage !== 'file' && storage !== 'memory') {
    throw invalidOption('storage is file or memory')
  }
  const perRoom = maxMessagesPerRoom ?? DEFAULTS.maxMessagesPerRoom
  return {
    config: {
      name,
      subjects: [`${name}.h.*`],
      storage: storage ?? DEFAULTS.storage,
      num_replicas: readInteger('replicas', replicas ?? DEFAULTS.replicas, 1, 5),
      max_msgs_per_subject: readInteger('maxMessagesPerRoom', perRoom),
      max_age: readInteger('maxAgeMs', maxAgeMs ?? DEFAULTS.maxAgeMs, 1_000, MAX_AGE_MS) * NS_PER_MS,
      max_bytes: readInteger('maxBytes', maxBytes ?? DEFAULTS.maxBytes),
      discard: 'old',
      deny_delete: true, // a reader could not see that one is missing
      republish: { src: `${name}.h.*`, dest: `${name}.f.{{wildcard(1)}}` },
    },
    timeoutMs: readTimeout('timeoutMs', timeoutMs ?? DEFAULTS.timeoutMs),
    maxPendingBytes: readMaxPendingBytes(options),
    place,
  }
}
