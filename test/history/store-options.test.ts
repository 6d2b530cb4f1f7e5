import { describe, expect, it } from 'vitest'
import { type JetStreamHistoryOptions, jetstreamHistory } from 'wshub/nats'
import { type RedisHistoryOptions, redisHistory } from 'wshub/redis'

/** The longest time that a timer of Node.js takes: a longer one ends at once. */
const LONGEST_TIMER_MS = 2_147_483_647

describe('redisHistory', () => {
  const make = (options: object) =>
    redisHistory({ url: 'redis://127.0.0.1:1', ...options } as RedisHistoryOptions)

  it.each<[object, string]>([
    [{ namespace: '' }, 'namespace has 1 to 64 characters, A–Z a–z 0–9 _ - only'],
    [{ namespace: 'a b' }, 'namespace has 1 to 64 characters, A–Z a–z 0–9 _ - only'],
    [{ namespace: 'x'.repeat(65) }, 'namespace has 1 to 64 characters, A–Z a–z 0–9 _ - only'],
    [{ namespace: 5 }, 'namespace has 1 to 64 characters, A–Z a–z 0–9 _ - only'],
    [{ maxBytesPerRoom: 0 }, 'maxBytesPerRoom is an integer from 1, not 0'],
    [{ maxBytesPerRoom: '5' }, 'maxBytesPerRoom is an integer from 1, not "5"'],
    [{ maxPendingBytes: 1.5 }, 'maxPendingBytes is an integer from 1, not 1.5'],
    [{ timeoutMs: 0 }, 'timeoutMs is an integer from 1 to 2147483647, not 0'],
    [{ timeoutMs: Object.create(null) }, 'timeoutMs is an integer from 1 to 2147483647, not an object'],
    [{ timeoutMs: LONGEST_TIMER_MS + 1 }, 'timeoutMs is an integer from 1 to 2147483647, not 2147483648'],
  ])('refuses the options %o', (options, message) => {
    expect(() => make(options)).toThrow(
      expect.objectContaining({ code: 'WSHUB_ERR_INVALID_OPTION', message }),
    )
  })

  it('takes the longest time that a timer takes, and undefined for the default', () => {
    const options = { timeoutMs: LONGEST_TIMER_MS, namespace: undefined, maxBytesPerRoom: undefined }
    expect(() => make(options)).not.toThrow()
  })
})

describe('jetstreamHistory', () => {
  const make = (options: object) =>
    jetstreamHistory({ servers: '127.0.0.1:1', ...options } as JetStreamHistoryOptions)

  it.each<[object, string]>([
    [{ stream: 'a.b' }, 'stream has 1 to 64 characters, A–Z a–z 0–9 _ - only'],
    [{ storage: 'disk' }, 'storage is file or memory'],
    [{ replicas: 6 }, 'replicas is an integer from 1 to 5, not 6'],
    [{ maxMessagesPerRoom: 0 }, 'maxMessagesPerRoom is an integer from 1, not 0'],
    [{ maxAgeMs: 999 }, 'maxAgeMs is an integer from 1000 to 1099511627776, not 999'],
    [{ maxBytes: Number.NaN }, 'maxBytes is an integer from 1, not NaN'],
    [{ maxPendingBytes: null }, 'maxPendingBytes is an integer from 1, not null'],
    [{ timeoutMs: LONGEST_TIMER_MS + 1 }, 'timeoutMs is an integer from 1 to 2147483647, not 2147483648'],
  ])('refuses the options %o', (options, message) => {
    expect(() => make(options)).toThrow(
      expect.objectContaining({ code: 'WSHUB_ERR_INVALID_OPTION', message }),
    )
  })

  it('takes the longest time that a timer takes, and undefined for the default', () => {
    const options = {
      timeoutMs: LONGEST_TIMER_MS,
      stream: undefined,
      storage: undefined,
      maxBytes: undefined,
    }
    expect(() => make(options)).not.toThrow()
  })
})
