import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { nodeClusterBackplane } from 'wshub/node-cluster'
import { backplaneContract } from 'wshub/testing/backplane'
import { inTime, WAIT_MS } from '../support/in-time.ts'
import { Primary, type WorkerProcess } from '../support/primary.ts'
import { Node } from './node.ts'

const WORKER = fileURLToPath(new URL('./node-cluster-worker.ts', import.meta.url))

interface Seen {
  readonly messages: readonly string[]
  readonly states: readonly string[]
  readonly errors: readonly string[]
  readonly state: string
}

/** A worker with a backplane. */
class Worker {
  readonly #process: WorkerProcess

  private constructor(process: WorkerProcess) {
    this.#process = process
  }

  static async of(primary: Primary): Promise<Worker> {
    return new Worker(await primary.fork())
  }

  get index(): number {
    return this.#process.index
  }

  call(method: string, ...args: readonly unknown[]): Promise<unknown> {
    return this.#process.call(method, args)
  }

  async seen(): Promise<Seen> {
    return (await this.call('seen')) as Seen // the worker's `seen` returns it
  }

  async until(what: string, holds: (seen: Seen) => boolean): Promise<Seen> {
    let seen = await this.seen()
    const end = Date.now() + WAIT_MS
    while (!holds(seen)) {
      if (Date.now() > end)
        throw new Error(`Waited for ${what}, saw: ${JSON.stringify(seen).slice(0, 2_000)}`)
      await sleep(10)
      seen = await this.seen()
    }
    return seen
  }

  heard(message: string): Promise<Seen> {
    return this.until(message, ({ messages }) => messages.includes(message))
  }
}

describe('nodeClusterBackplane', () => {
  let primary: Primary

  beforeAll(async () => {
    primary = await Primary.start(WORKER)
    await primary.call('serve')
  })

  afterAll(() => primary?.stop())

  describe('in a worker', () => {
    let worker: Worker

    beforeAll(async () => {
      worker = await Worker.of(primary)
    })

    // The cases run in the worker; these are their names.
    const names = backplaneContract({ create: nodeClusterBackplane, cut() {}, restore() {} })
    for (const { name } of names) it(name, () => worker.call('contract', name))
  })

  async function startWorkers(count: number, of = primary): Promise<Worker[]> {
    const workers = await Promise.all(Array.from({ length: count }, () => Worker.of(of)))
    for (const worker of workers) await worker.call('start')
    return workers
  }

  it('carries messages between workers, and only to those that are subscribed', async () => {
    const [one, two, three] = (await startWorkers(3)) as [Worker, Worker, Worker] // as many as asked for
    for (const worker of [one, two]) await worker.call('subscribe', 'room')
    await three.call('subscribe', 'hall')
    for (const [index, worker] of [one, two, three].entries()) {
      expect(await worker.call('publish', 'room', `from ${index}`)).toBe(true)
    }
    await three.call('publish', 'hall', 'marker')
    const expected = [0, 1, 2].map((index) => `room: from ${index}`)
    for (const worker of [one, two]) {
      const { messages } = await worker.until('all', (seen) => seen.messages.length === 3)
      expect(messages.toSorted()).toEqual(expected)
    }
    expect((await three.heard('hall: marker')).messages).toEqual(['hall: marker'])
  })

  it('forgets a worker that is killed; the others continue', async () => {
    const [one, two, doomed] = (await startWorkers(3)) as [Worker, Worker, Worker] // as many as asked for
    for (const worker of [one, two, doomed]) await worker.call('subscribe', 'doomed')
    await doomed.call('publish', 'doomed', 'before')
    await one.heard('doomed: before')
    await primary.call('kill', doomed.index)
    await one.call('publish', 'doomed', 'after')
    await two.heard('doomed: after')
    await inTime('the worker to be garbage', forgotten(), () => '')
    for (const worker of [one, two]) expect((await worker.seen()).states).toEqual(['connected'])

    async function forgotten(): Promise<void> {
      while ((await primary.call('held')) !== 0) await sleep(20)
    }
  })

  it('is forgotten by the primary when it is closed before it is connected', async () => {
    const [one, two] = (await startWorkers(2)) as [Worker, Worker] // as many as asked for
    await one.call('closeEarly', 'early')
    await one.call('subscribe', 'marker')
    await two.call('publish', 'early', 'nobody wants this')
    await two.call('publish', 'marker', 'end')
    await one.heard('marker: end')
    expect(await one.call('came', 'early')).toBe(0)
  })

  it.each([
    [1, 1_000],
    [1_200, 1_200],
  ])(
    'closes with timeoutMs %i while the primary does not read: the possible loss is reported after %i ms',
    async (timeoutMs, ms) => {
      const [worker] = (await startWorkers(1)) as [Worker] // as many as asked for
      await worker.call('closeFlooded', 'room', 100, timeoutMs)
      expect((await worker.seen()).errors).toEqual([
        `100 messages (the primary has not read them within ${ms} ms) may not have been published`,
      ])
    },
  )

  it('reports the messages that wait when the primary stops serving', async () => {
    const other = await Primary.start(WORKER)
    onTestFinished(() => other.stop())
    await other.call('serve')
    const [worker] = (await startWorkers(1, other)) as [Worker] // as many as asked for
    await worker.call('publishAtLeaving', 'room', 3)
    await other.call('stop')
    const { errors } = await worker.until('the report', (seen) => seen.errors.length > 0)
    expect(errors).toEqual(['3 messages (the primary has stopped serving) may not have been published'])
    await other.call('serve')
    await worker.until('the return', ({ state }) => state === 'connected')
    await worker.call('subscribe', 'after')
    await worker.call('publish', 'after', 'it goes on')
    expect((await worker.heard('after: it goes on')).errors).toHaveLength(1)
  })

  it('continues when the primary begins to serve after its workers, and when it serves anew', async () => {
    const late = await Primary.start(WORKER)
    onTestFinished(() => late.stop())
    const worker = await Worker.of(late)
    const started = worker.call('start')
    const confirmed = worker.call('subscribe', 'late')
    expect((await worker.seen()).state).toBe('connecting')
    await late.call('serve')
    await Promise.all([started, confirmed])
    await worker.call('publish', 'late', 'first')
    await worker.heard('late: first')
    await late.call('stop')
    await worker.until('the stop', ({ state }) => state === 'reconnecting')
    expect(await worker.call('publish', 'late', 'lost')).toBe(false)
    await late.call('serve')
    await worker.until('the return', ({ state }) => state === 'connected')
    await worker.call('publish', 'late', 'second')
    expect((await worker.heard('late: second')).messages).toEqual(['late: first', 'late: second'])
  })

  it('holds no more than the limit for a worker that does not read, and reports the loss to it', async () => {
    const small = await Primary.start(WORKER)
    onTestFinished(() => small.stop())
    await small.call('serve', { maxPendingBytes: 1_000_000 })
    const [one, two, frozen] = (await startWorkers(3, small)) as [Worker, Worker, Worker] // as many as asked for
    for (const worker of [two, frozen]) await worker.call('subscribe', 'flood')
    await small.call('signal', frozen.index, 'SIGSTOP')
    const length = 50_000
    for (let round = 1; round <= 10; round++) {
      expect(await one.call('flood', 'flood', length)).toBeGreaterThan(300) // of 16 MiB
      await one.call('subscribe', `marker.${round}`)
    }
    await one.call('publish', 'flood', 'marker')
    await two.heard('flood: marker')
    await small.call('signal', frozen.index, 'SIGCONT')
    await frozen.until('what waited', ({ messages }) => messages.length > 0)
    await frozen.call('seen')
    await one.call('publish', 'flood', 'now')
    const seen = await frozen.until('the report', ({ errors }) => errors.length > 0)
    expect(seen.errors[0]).toMatch(/^\d+ messages were dropped/)
    await one.call('publish', 'flood', 'end')
    const { messages } = await frozen.heard('flood: end')
    expect(messages.length * length).toBeLessThan(5_000_000)
  })

  it('holds no more than the limit for a primary that does not read, subscriptions included', async () => {
    const worker = await Worker.of(primary)
    await worker.call('start', { maxPendingBytes: 100_000 })
    expect(await worker.call('churn', 200_000)).toBeLessThan(4_000_000)
    await worker.call('subscribe', 'after')
    await worker.call('publish', 'after', 'it goes on')
    await worker.heard('after: it goes on')
  })

  it('confirms many more subscriptions than fit at once, also when it is served anew', async () => {
    const small = await Primary.start(WORKER)
    onTestFinished(() => small.stop())
    await small.call('serve', { maxPendingBytes: 10_000 })
    const worker = await Worker.of(small)
    await worker.call('start', { maxPendingBytes: 10_000 })
    await worker.call('subscribeMany', 'many', 5_000)
    await small.call('stop')
    await worker.until('the stop', ({ state }) => state === 'reconnecting')
    await small.call('serve', { maxPendingBytes: 10_000 })
    await worker.until('the return', ({ state }) => state === 'connected')
    for (const index of [0, 2_500, 4_999]) {
      await worker.call('publish', `many.${index}`, 'x')
      await worker.heard(`many.${index}: x`)
    }
    await worker.call('unsubscribe', 'many.0')
    await worker.call('subscribe', 'many.0')
    await worker.call('publish', 'many.0', 'again')
    await worker.heard('many.0: again')
  })

  it('rejects the start if bytes would not arrive as bytes', async () => {
    const json = await Primary.start(WORKER, 'json')
    onTestFinished(() => json.stop())
    await json.call('serve')
    const worker = await Worker.of(json)
    await expect(worker.call('start')).rejects.toThrow("cluster.setupPrimary({ serialization: 'advanced' })")
    expect(await worker.seen()).toMatchObject({ state: 'closed', errors: [] })
  })

  it('rejects the start if there is no primary', async () => {
    await expect(Node.of(nodeClusterBackplane()).begin()).rejects.toThrow('worker of node:cluster')
  })
})
