import { describe, expect, it } from 'vitest'
import { Hub, type HubOptions } from 'wshub'
import { HUB_DEFAULTS, resolveHubOptions } from '../../src/hub/hub-options.ts'
import { LIMIT_DEFAULTS } from '../../src/hub/limit-options.ts'

const numeric = [
  { key: 'maxConnections', least: 1, standard: 10_000 },
  { key: 'maxMessageSize', least: 1, standard: 65_536 },
  { key: 'pingIntervalMs', least: 0, standard: 30_000 },
  { key: 'pongTimeoutMs', least: 1, standard: 10_000 },
  { key: 'maxBufferedBytes', least: 1, standard: 1_048_576 },
  { key: 'maxTotalBufferedBytes', least: 1, standard: 134_217_728 },
  { key: 'openTimeoutMs', least: 0, standard: 10_000 },
  { key: 'closeTimeoutMs', least: 1, standard: 10_000 },
] as const

const others = {
  heartbeat: undefined,
  enableCompression: false,
  allowedOrigins: [],
  allowedHosts: [],
  protocols: [],
  onError: undefined,
  slowConsumer: 'close',
  callbackContext: false,
  writeDelayMs: 0,
  backplane: undefined,
  history: undefined,
  presence: undefined,
} as const

/** The compiled rules are tested elsewhere. */
const compiled = ['limits', 'trustProxy', 'proxyHeader'] as const

const limits = [
  { key: 'maxConnectionsPerAddress', least: 0, standard: 0 },
  { key: 'maxConnectionsPerSession', least: 1, standard: 1_000 },
  { key: 'maxUpgradesPerSecondPerAddress', least: 0, standard: 0 },
  { key: 'maxPendingUpgrades', least: 1, standard: 1_024 },
  { key: 'upgradeTimeoutMs', least: 0, standard: 30_000 },
  { key: 'maxMessagesPerSecond', least: 0, standard: 0 },
  { key: 'maxBytesPerSecond', least: 0, standard: 0 },
  { key: 'maxRoomsPerConnection', least: 1, standard: 1_000 },
  { key: 'maxRoomNameBytes', least: 1, standard: 1_024 },
  { key: 'maxMetadataEntries', least: 1, standard: 256 },
  { key: 'maxFragments', least: 1, standard: 16_384 },
  { key: 'maxBufferedChunks', least: 1, standard: 262_144 },
] as const

const refused = (message: string | RegExp) =>
  expect.objectContaining({
    code: 'WSHUB_ERR_INVALID_OPTION',
    message: typeof message === 'string' ? message : expect.stringMatching(message),
  })

describe('resolveHubOptions', () => {
  it('knows exactly the options of this test', () => {
    expect(Object.keys(HUB_DEFAULTS).sort()).toEqual(
      [...numeric.map(({ key }) => key), ...Object.keys(others), ...compiled, 'cluster'].sort(),
    )
  })

  it.each(numeric)('reads $key as $standard by default, and when it is undefined', ({ key, standard }) => {
    expect(resolveHubOptions()[key]).toBe(standard)
    expect(resolveHubOptions({ [key]: undefined })[key]).toBe(standard)
  })

  it.each(Object.entries(others))('reads %s as %o by default, and when it is undefined', (key, standard) => {
    expect(resolveHubOptions()).toMatchObject({ [key]: standard })
    expect(resolveHubOptions({ [key]: undefined })).toMatchObject({ [key]: standard })
  })

  it.each(numeric)('keeps the least $key, $least', ({ key, least }) => {
    expect(resolveHubOptions({ [key]: least })[key]).toBe(least)
  })

  it.each(numeric)('keeps the greatest $key, 2147483647', ({ key }) => {
    expect(resolveHubOptions({ [key]: 2_147_483_647 })[key]).toBe(2_147_483_647)
  })

  describe.each(numeric)('for $key', ({ key, least }) => {
    it.each([
      [least - 1, String(least - 1)],
      [-1, '-1'],
      [1.5, '1.5'],
      [2_147_483_648, '2147483648'],
      [Number.POSITIVE_INFINITY, 'Infinity'],
      [Number.NaN, 'NaN'],
      ['10', '"10"'],
      [10n, '10'],
      [true, 'true'],
      [{}, 'an object'],
    ])('names key, rule and value of %s', (value, shown) => {
      expect(() => new Hub({ [key]: value } as never)).toThrow(
        refused(`${key} is an integer from ${least} to 2147483647, not ${shown}`),
      )
    })
  })

  it.each([
    [{ heartbeat: 1_000 }, 'heartbeat is an object, not 1000'],
    [{ heartbeat: {} }, 'heartbeat.everyMs is an integer from 1 to 2147483647, not undefined'],
    [{ heartbeat: { everyMs: 0 } }, 'heartbeat.everyMs is an integer from 1 to 2147483647, not 0'],
    [{ enableCompression: 1 }, 'enableCompression is true, false or an object, not 1'],
    [{ enableCompression: { treshold: 1 } }, '"treshold" is not a setting of enableCompression'],
    [
      { enableCompression: { thresholdBytes: -1 } },
      /^enableCompression.thresholdBytes is an integer from 0 /,
    ],
    [{ enableCompression: { maxBytes: 0 } }, /^enableCompression.maxBytes is an integer from 1 /],
    [{ enableCompression: { level: 10 } }, 'enableCompression.level is an integer from 1 to 9, not 10'],
    [{ enableCompression: { memLevel: 0 } }, 'enableCompression.memLevel is an integer from 1 to 9, not 0'],
    [{ enableCompression: { window: 'own' } }, `enableCompression.window is 'none' or 'shared', not "own"`],
    [
      { enableCompression: { windowBytes: 511 } },
      'enableCompression.windowBytes is an integer from 512 to 32768, not 511',
    ],
    [
      { enableCompression: { windowBytes: 32_769 } },
      /^enableCompression.windowBytes is an integer from 512 /,
    ],
    [{ enableCompression: { maxDeflates: 1 } }, /^enableCompression.maxDeflates is an integer from 2 /],
    [{ onError: 'log' }, 'onError is a function, not "log"'],
    [
      { slowConsumer: 'wait' },
      'slowConsumer is one of close, dropNewest, dropOldest, conflate, resync, not "wait"',
    ],
    [{ writeDelayMs: -1 }, 'writeDelayMs is an integer from 0 to 1000, not -1'],
    [{ writeDelayMs: 1_001 }, 'writeDelayMs is an integer from 0 to 1000, not 1001'],
    [{ writeDelayMs: 2.5 }, 'writeDelayMs is an integer from 0 to 1000, not 2.5'],
    [{ writeDelayMs: '5' }, 'writeDelayMs is an integer from 0 to 1000, not "5"'],
    [{ allowedHosts: 'a.com' }, 'allowedHosts is an array of non-empty strings, not "a.com"'],
    [{ allowedHosts: ['https://a.com'] }, /^allowedHosts takes hosts like .*, not "https:\/\/a.com"$/],
    [{ allowedHosts: ['*'] }, /^allowedHosts takes hosts like .*, not "\*"$/],
    [{ allowedOrigins: '*' }, 'allowedOrigins is an array of non-empty strings, not "*"'],
    [{ allowedOrigins: [''] }, 'allowedOrigins is an array of non-empty strings, not ""'],
    [{ allowedOrigins: [/x/] }, 'allowedOrigins is an array of non-empty strings, not an object'],
    [{ allowedOrigins: ['example.com'] }, /^allowedOrigins takes origins like .*, not "example.com"$/],
    [{ allowedOrigins: ['https://example.com/'] }, /^allowedOrigins .*, not "https:\/\/example.com\/"$/],
    [{ allowedOrigins: ['https://a.*.com'] }, /^allowedOrigins .*, not "https:\/\/a.\*.com"$/],
    [{ protocols: 'chat' }, 'protocols is an array of non-empty strings, not "chat"'],
    [{ protocols: [7] }, 'protocols is an array of non-empty strings, not 7'],
    [{ protocols: ['a b'] }, 'protocols names subprotocols, which are tokens, not "a b"'],
    [{ limits: 7 }, 'limits is an object, not 7'],
    [
      { limits: { maxMessages: 1 } },
      '"maxMessages" is not one of the limits; did you mean "maxMessagesPerSecond"?',
    ],
    [{ limits: { rateLimitPolicy: 'drop' } }, 'limits.rateLimitPolicy is pause or close, not "drop"'],
    [{ trustProxy: -1 }, 'trustProxy is true, false, a number of hops, addresses or a function, not -1'],
    [{ trustProxy: Number.NaN }, /^trustProxy is .*, not NaN$/],
    [{ trustProxy: [7] }, /^trustProxy is .*, not an array of 1$/],
    [{ trustProxy: {} }, /^trustProxy is .*, not an object$/],
    [{ trustProxy: 'nowhere' }, 'trustProxy takes addresses and networks, not "nowhere"'],
    [{ proxyHeader: 'X-Real-IP' }, 'proxyHeader is x-forwarded-for or forwarded, not "X-Real-IP"'],
    [{ backplane: 'redis://localhost' }, /^backplane is an object with start, publish, .*, not "redis/],
    [{ backplane: { start() {} } }, /^backplane is an object with .*, not an object$/],
    [{ backplane: null }, /^backplane is an object with .*, not null$/],
    [{ cluster: null }, 'cluster is an object, not null'],
    [{ cluster: 'app' }, 'cluster is an object, not "app"'],
    [{ cluster: { nodes: 3 } }, '"nodes" is not a setting of cluster'],
    [{ maxMesageSize: 1 }, '"maxMesageSize" is not an option of a hub; did you mean "maxMessageSize"?'],
    [{ toString: 1 }, '"toString" is not an option of a hub'],
    [JSON.parse('{"__proto__":1}'), '"__proto__" is not an option of a hub; did you mean "protocols"?'],
  ])('refuses %o', (options: unknown, message) => {
    expect(() => new Hub(options as HubOptions)).toThrow(refused(message))
  })

  describe('for limits', () => {
    it('knows exactly the limits of this test', () => {
      expect(Object.keys(LIMIT_DEFAULTS).sort()).toEqual(
        [...limits.map(({ key }) => key), 'rateLimitPolicy'].sort(),
      )
    })

    it.each(limits)('reads $key as $standard by default, and keeps its least', ({ key, least, standard }) => {
      expect(resolveHubOptions().limits[key]).toBe(standard)
      expect(resolveHubOptions({ limits: undefined }).limits[key]).toBe(standard)
      expect(resolveHubOptions({ limits: { [key]: undefined } }).limits[key]).toBe(standard)
      expect(resolveHubOptions({ limits: { [key]: least } }).limits[key]).toBe(least)
      expect(resolveHubOptions({ limits: { [key]: 2_147_483_647 } }).limits[key]).toBe(2_147_483_647)
    })

    it.each(limits)('names key, rule and value for $key', ({ key }) => {
      for (const value of [-1, 1.5, Number.NaN, 2_147_483_648, '10']) {
        expect(() => new Hub({ limits: { [key]: value } } as never)).toThrow(
          refused(new RegExp(`^limits.${key} is an integer from \\d to 2147483647, not `)),
        )
      }
    })

    it('derives the limits of fragments and chunks from maxMessageSize by default', () => {
      const { maxFragments, maxBufferedChunks } = resolveHubOptions({ maxMessageSize: 8 * 1_048_576 }).limits
      expect([maxFragments, maxBufferedChunks]).toEqual([131_072, 524_288])
      const given = { maxFragments: 2, maxBufferedChunks: 3 }
      expect(resolveHubOptions({ maxMessageSize: 8 * 1_048_576, limits: given }).limits).toMatchObject(given)
    })

    it('is frozen', () => {
      expect(Object.isFrozen(resolveHubOptions().limits)).toBe(true)
      expect(resolveHubOptions().limits.rateLimitPolicy).toBe('pause')
    })
  })

  it.each([[null], ['x'], [7]])('refuses %o in place of options', (options) => {
    expect(() => new Hub(options as never)).toThrow(refused(/^options are an object, not /))
  })

  it('is frozen, its lists too, and does not follow changes of the given list', () => {
    const protocols = ['chat']
    const options = resolveHubOptions({ protocols, allowedOrigins: ['*'] })
    protocols.push('more')
    expect(options.protocols).toEqual(['chat'])
    expect(Object.isFrozen(options)).toBe(true)
    expect(Object.isFrozen(options.protocols)).toBe(true)
    expect(Object.isFrozen(options.allowedOrigins)).toBe(true)
    expect(Object.isFrozen(HUB_DEFAULTS)).toBe(true)
  })
})
