import { describe, expect, it } from 'vitest'
import { Hub } from 'wshub'
import { CLUSTER_DEFAULTS, resolveClusterOptions } from '../../src/cluster/cluster-options.ts'

const numeric = [
  { key: 'heartbeatIntervalMs', least: 1, standard: 5_000 },
  { key: 'heartbeatTimeoutMs', least: 1, standard: 15_000 },
  { key: 'callTimeoutMs', least: 1, standard: 2_000 },
  { key: 'maxPendingCalls', least: 1, standard: 1_000 },
  { key: 'maxEnvelopeBytes', least: 1_024, standard: 1_048_576 },
  { key: 'maxEarlyBytes', least: 0, standard: 8_388_608 },
  { key: 'roomGraceMs', least: 0, standard: 5_000 },
] as const
const others = { namespace: 'wshub', publicMetadata: [], onGap: undefined } as const

const refused = (message: string) => expect.objectContaining({ code: 'WSHUB_ERR_INVALID_OPTION', message })
/** Sets the other heartbeat option so that both fit. */
const beside = (key: string, value: number) =>
  key === 'heartbeatTimeoutMs' ? { heartbeatIntervalMs: value } : { heartbeatTimeoutMs: 2_147_483_647 }

describe('resolveClusterOptions', () => {
  it('resolveClusterOptions knows exactly the settings listed in this test', () => {
    const keys = [...numeric.map(({ key }) => key), ...Object.keys(others)]
    expect(Object.keys(CLUSTER_DEFAULTS).sort()).toEqual(keys.sort())
  })

  it.each(numeric)('reads $key as $standard by default, and when it is undefined', ({ key, standard }) => {
    expect(resolveClusterOptions()[key]).toBe(standard)
    expect(resolveClusterOptions({ [key]: undefined })[key]).toBe(standard)
  })

  it.each(Object.entries(others))('reads %s as %o by default, and when it is undefined', (key, standard) => {
    expect(resolveClusterOptions()).toMatchObject({ [key]: standard })
    expect(resolveClusterOptions({ [key]: undefined })).toMatchObject({ [key]: standard })
  })

  it.each(numeric)('accepts the least $key, $least, and the greatest', ({ key, least }) => {
    for (const value of [least, 2_147_483_647]) {
      expect(resolveClusterOptions({ ...beside(key, value), [key]: value })[key]).toBe(value)
    }
  })

  it.each(numeric)('refuses a $key that is out of range or not an integer', ({ key, least }) => {
    for (const [value, shown] of [
      [least - 1, String(least - 1)],
      [1_024.5, '1024.5'],
      [2_147_483_648, '2147483648'],
      ['10', '"10"'],
    ] as const) {
      expect(() => new Hub({ cluster: { [key]: value } as never })).toThrow(
        refused(`cluster.${key} is an integer from ${least} to 2147483647, not ${shown}`),
      )
    }
  })

  it.each([
    [{ namespace: '' }, 'cluster.namespace is a non-empty string, not ""'],
    [{ namespace: 7 }, 'cluster.namespace is a non-empty string, not 7'],
    [{ publicMetadata: 'name' }, 'cluster.publicMetadata is an array of non-empty strings, not "name"'],
    [{ publicMetadata: [''] }, 'cluster.publicMetadata is an array of non-empty strings, not ""'],
    [{ onGap: 'log' }, 'cluster.onGap is a function, not "log"'],
    [
      { heartbeatIntervalMs: 20_000 },
      'cluster.heartbeatTimeoutMs is not below heartbeatIntervalMs, not 15000',
    ],
    [{ toString: 1 }, '"toString" is not a setting of cluster'],
  ])('refuses %o', (cluster: unknown, message) => {
    expect(() => new Hub({ cluster: cluster as never })).toThrow(refused(message))
  })

  it('resolved cluster options are frozen, their list too, and independent of the list that was passed', () => {
    const publicMetadata = ['name']
    const options = resolveClusterOptions({ publicMetadata })
    publicMetadata.push('secret')
    expect(options.publicMetadata).toEqual(['name'])
    expect(Object.isFrozen(options)).toBe(true)
    expect(Object.isFrozen(options.publicMetadata)).toBe(true)
    expect(Object.isFrozen(CLUSTER_DEFAULTS)).toBe(true)
  })
})
