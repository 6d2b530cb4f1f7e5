import { afterEach, describe, expect, it } from 'vitest'
import type { UpgradeInit } from 'wshub'
import { destroyClients, RawClient } from '../support/raw.ts'
import { closeApps, type Exchange, echo, frameworks } from './frameworks.ts'

afterEach(async () => {
  destroyClients()
  await closeApps()
})

describe.each(frameworks)('The init of a route of $name', ({ start }) => {
  it.each<{ init: unknown; rule: string }>([
    { init: null, rule: 'an object of options' },
    { init: 7, rule: 'an object of options' },
    { init: 'chat', rule: 'an object of options' },
    { init: [], rule: 'an object of options' },
    { init: { headers: null }, rule: 'headers is an object' },
    { init: { headers: 7 }, rule: 'headers is an object' },
  ])('is not $init: refused before the 101', async ({ init, rule }) => {
    const seen: unknown[] = []
    const app = await start({
      routes: { '/ws': ({ upgrade }) => upgrade(echo, init as UpgradeInit) }, // what JavaScript may pass
      onError: (error, exchange: Exchange) => {
        seen.push(error)
        exchange.send(500, 'sorry')
      },
    })
    expect((await RawClient.refused(app)).status).toBe(500)
    expect(seen).toEqual([
      expect.objectContaining({
        code: 'WSHUB_ERR_INVALID_OPTION',
        message: expect.stringContaining(rule),
      }),
    ])
    expect(app.hub.size).toBe(0)
  })
})
