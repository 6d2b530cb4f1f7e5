import { createCluster } from 'redis'
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import type { Backplane } from 'wshub'
import { natsBackplane } from 'wshub/nats'
import { redisBackplane } from 'wshub/redis'
import { backoffMs as scheduledMs } from '../../adapters/backplane/backoff.ts'
import { eventually } from '../support/hub-server.ts'
import { Cable, type Engine, startNats, startRedis, startRedisCluster } from '../support/servers.ts'
import { Node } from './node.ts'

/** The delays that were scheduled, in ms. */
const delays = vi.hoisted(() => ({ scheduled: [] as number[] }))

// Notes the real delays, and lets none pass: a wait that is measured depends on the load of the machine.
vi.mock('../../adapters/backplane/backoff.ts', async (original) => {
  const actual = await original<typeof import('../../adapters/backplane/backoff.ts')>()
  return {
    ...actual,
    backoffMs: (failures: number) => {
      delays.scheduled.push(actual.backoffMs(failures))
      return 1
    },
  }
})

afterEach(() => {
  delays.scheduled = []
})

/** The time that users are promised for everything to work again after an outage. */
const PROMISE_MS = 5_000
/** The part of it that may pass before an engine which is back is tried again. */
const MAX_DELAY_MS = PROMISE_MS / 2
/** Attempts after which each delay is as long as it gets. */
const ATTEMPTS = 12

interface Setting {
  start(): Promise<readonly Engine[]>
  create(cables: readonly Cable[], engines: readonly Engine[]): Backplane
}

const addressOf = (cable: Cable | undefined) => `127.0.0.1:${cable?.port}`

const settings: [string, Setting][] = [
  [
    'Redis',
    {
      start: async () => [await startRedis()],
      create: ([cable]) => redisBackplane({ url: `redis://${addressOf(cable)}` }),
    },
  ],
  [
    'a Redis Cluster',
    {
      start: () => startRedisCluster(),
      create: (cables, engines) =>
        redisBackplane({
          client: createCluster({
            minimizeConnections: true,
            rootNodes: cables.map((cable) => ({ url: `redis://${addressOf(cable)}` })),
            nodeAddressMap: (address) => {
              const index = engines.findIndex(({ port }) => address === `127.0.0.1:${port}`)
              return { host: '127.0.0.1', port: cables[index]?.port ?? 0 }
            },
          }),
        }),
    },
  ],
  [
    'NATS',
    {
      start: async () => [await startNats()],
      create: ([cable]) => natsBackplane({ servers: addressOf(cable) }),
    },
  ],
]

describe.each(settings)('A backplane of %s', (_name, { start, create }) => {
  it('never waits long before it tries an engine again, however often that has failed', async () => {
    const engines = await start()
    const cables = await Promise.all(engines.map(({ port }) => Cable.to(port)))
    onTestFinished(async () => {
      await Promise.all(cables.map((cable) => cable.close()))
      await Promise.all(engines.map((engine) => engine.stop()))
    })
    const node = await Node.start(create(cables, engines))
    delays.scheduled = []
    for (const cable of cables) cable.cut()
    await node.became('reconnecting')
    await eventually(
      'many attempts',
      () => delays.scheduled.length >= ATTEMPTS * engines.length,
      () => [delays.scheduled, node.errors.all.map(String)],
    )
    expect(Math.max(...delays.scheduled)).toBeGreaterThan(500) // they do grow
    expect(Math.max(...delays.scheduled)).toBeLessThanOrEqual(MAX_DELAY_MS)
    for (const cable of cables) cable.restore()
    await node.became('connected')
  })
})

it('the delay before an engine is tried again grows from some 100 ms, and is within the promise for any number of failures', async () => {
  const { backoffMs } = await vi.importActual<typeof import('../../adapters/backplane/backoff.ts')>(
    '../../adapters/backplane/backoff.ts',
  )
  expect(backoffMs).not.toBe(scheduledMs)
  const random = vi.spyOn(Math, 'random')
  onTestFinished(() => random.mockRestore())
  const rangeOf = (failures: number) =>
    [0, 1].map((value) => {
      random.mockReturnValue(value)
      return backoffMs(failures)
    })
  expect([0, 1, 4].map(rangeOf)).toEqual([
    [50, 100],
    [100, 200],
    [800, 1_600],
  ])
  for (const failures of [5, 10, 100, 1_024, 1_000_000]) expect(rangeOf(failures)).toEqual([1_000, 2_000])
})
