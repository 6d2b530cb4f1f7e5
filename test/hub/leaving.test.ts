import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { type CloseResult, Hub, type HubStats } from 'wshub'
import { portOf } from '../adapters/frameworks.ts'
import { compiled } from '../support/compiled.ts'
import { makeServer } from '../support/http2-tunnel.ts'
import { Client, eventually, inTime, listen, serve, stop, thrownBy, turn } from '../support/hub-server.ts'
import { destroyClients, RawClient, until } from '../support/raw.ts'

afterEach(destroyClients)

/** Stops the time of the hub, so that a process that stalls is not late; clients wait in real time. */
function fakeTimers(): void {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  onTestFinished(() => void vi.useRealTimers())
}

describe('hub.close', () => {
  it('closes all connections in batches, and returns how many closed in order', async () => {
    const { hub, connect } = await serve()
    const clients: Client[] = []
    for (let i = 0; i < 10; i++) clients.push((await connect()).client)
    const closing = hub.close({ code: 1012, reason: 'deploy', batch: 4, everyMs: 60, timeoutMs: 5_000 })
    const left = () => hub.connections().filter(({ state }) => state === 'open').length
    expect(left()).toBe(6)
    await eventually('the second batch', () => left() === 2, left)
    await eventually('the third batch', () => left() === 0, left)
    for (const client of clients) expect(await client.closed()).toBe('1012 deploy')
    expect(await closing).toEqual({ closed: 10, terminated: 0 })
    expect(hub.state).toBe('closed')
  })

  it('closes faster than everyMs if that would take more than half of timeoutMs', async () => {
    const { hub, connect } = await serve()
    for (let i = 0; i < 4; i++) await connect()
    fakeTimers()
    const closing = hub.close({ batch: 1, everyMs: 60_000, timeoutMs: 2_000 })
    const left = () => hub.connections().filter(({ state }) => state === 'open').length
    expect(left()).toBe(3)
    await vi.advanceTimersByTimeAsync(1_200) // pauses vary by half
    expect(left()).toBe(0)
    expect(await inTime('the hub to close', closing)).toEqual({ closed: 4, terminated: 0 })
  })

  it('counts connections that did not close in order: lost meanwhile, or terminated at the end', async () => {
    const { hub, connect, connectRaw, log } = await serve()
    await connect()
    const { client: lost } = await connectRaw()
    const { client: mute } = await connectRaw()
    fakeTimers()
    const closing = hub.close({ timeoutMs: 1_500 })
    await lost.closeFrame()
    lost.socket.resetAndDestroy()
    await log.until('the loss', (all) => all.filter((entry) => entry === 'close 1001').length === 2)
    await vi.advanceTimersByTimeAsync(1_500)
    expect(await inTime('the hub to close', closing)).toEqual({ closed: 1, terminated: 2 })
    await mute.hungUp()
  })

  it('resolves after the onClose of those that it terminated, also if that is async', async () => {
    const log: string[] = []
    const { hub, connectRaw } = await serve(
      {},
      {
        async onClose(_connection, code, _reason, { by }) {
          log.push(`${code} by ${by}`)
          await turn()
          log.push('stored')
        },
      },
    )
    for (let i = 0; i < 3; i++) await connectRaw()
    fakeTimers() // the time for the three onClose does not pass
    const closing = hub.close({ timeoutMs: 1_000 })
    await vi.advanceTimersByTimeAsync(900)
    expect(await inTime('the hub to close', closing)).toEqual({ closed: 0, terminated: 3 })
    expect(log.toSorted()).toEqual([...Array(3).fill('1001 by hub'), ...Array(3).fill('stored')])
  })

  it.each(['is open', 'has left'])(
    'calls onClose of a client that %s while onOpen never settles',
    async (how) => {
      const { hub, connectRaw, log } = await serve({}, { onOpen: () => new Promise(() => {}) })
      const { client } = await connectRaw()
      if (how === 'has left') {
        client.socket.resetAndDestroy()
        await until('the loss', () => hub.size === 0)
      }
      await hub.close({ timeoutMs: 100 })
      expect(log.all).toEqual(['open', how === 'has left' ? 'close 1006' : 'close 1001'])
    },
  )

  it('calls onClose, and resolves, when a registered socket does not report its end', async () => {
    const { port } = await serve()
    const { socket } = await Client.open(`ws://127.0.0.1:${port}`)
    const terminate = socket.terminate.bind(socket)
    const hub = new Hub({ pingIntervalMs: 0 })
    Object.assign(socket, { close() {}, terminate() {} })
    const closes: number[] = []
    hub.register(socket, { onClose: (_connection, code) => void closes.push(code) })
    fakeTimers()
    const closing = hub.close({ timeoutMs: 50 })
    await vi.advanceTimersByTimeAsync(70) // 20 for the end of the socket
    expect(await inTime('the hub to close', closing)).toEqual({ closed: 0, terminated: 1 })
    expect(closes).toEqual([1001])
    expect(hub.size).toBe(0)
    terminate()
    await once(socket, 'close')
    expect(closes).toEqual([1001])
  })

  it.each(['close', 'terminate', 'resume', 'send', 'readyState', 'bufferedAmount', 'protocol'])(
    'ends, and closes the others, when %s of a registered socket throws',
    async (member) => {
      const { port } = await serve()
      const [broken, sound] = [
        await Client.open(`ws://127.0.0.1:${port}`),
        await Client.open(`ws://127.0.0.1:${port}`),
      ]
      const errors: string[] = []
      const hub = new Hub({ pingIntervalMs: 0, onError: (error) => void errors.push(error.message) })
      const connection = hub.register(broken.socket, {})
      hub.register(sound.socket, {})
      const fail = () => {
        throw new Error(`${member} failed`)
      }
      const { terminate } = broken.socket
      Object.assign(broken.socket, { close() {}, terminate() {} })
      const isMethod = typeof Reflect.get(broken.socket, member) === 'function'
      Object.defineProperty(broken.socket, member, {
        configurable: true,
        ...(isMethod ? { value: fail } : { get: fail }),
      })
      connection.sendText('x')
      expect(connection.protocol).toBe('')
      expect(connection.state).toBe('open')
      fakeTimers()
      const closing = hub.close({ timeoutMs: 500 })
      await eventually(
        'the other to be closed',
        () => hub.size === 1,
        () => hub.size,
      )
      await vi.advanceTimersByTimeAsync(520) // 20 for the end of the socket
      expect(await inTime('the hub to close', closing)).toEqual({ closed: 1, terminated: 1 })
      expect([...new Set(errors)]).toEqual([`${member} failed`])
      expect(hub.size).toBe(0)
      if (!isMethod) Reflect.deleteProperty(broken.socket, member)
      Object.assign(broken.socket, { terminate }).terminate()
    },
  )

  it('flushes messages that were accepted before', async () => {
    const { hub, connect } = await serve({ maxBufferedBytes: 100_000_000 })
    const { client } = await connect()
    const data = 'x'.repeat(100_000)
    for (let i = 0; i < 100; i++) hub.broadcast(data)
    await hub.close({ timeoutMs: 30_000 })
    expect(await client.closed()).toBe('1001')
    expect(client.received.all).toHaveLength(100)
  })

  it.each([
    { batch: 0 },
    { batch: Number.NaN },
    { batch: 1.5 },
    { everyMs: -1 },
    { everyMs: Number.NaN },
    { everyMs: Number.POSITIVE_INFINITY },
    { timeoutMs: -1 },
    { timeoutMs: 2_147_483_648 },
  ])('refuses %o, and stays open', (options) => {
    const hub = new Hub()
    expect(thrownBy(() => hub.close(options))).toMatchObject({ code: 'WSHUB_ERR_INVALID_OPTION' })
    expect(hub.state).toBe('open')
  })

  it.each([
    { batch: undefined, everyMs: undefined, timeoutMs: undefined, code: undefined },
    { everyMs: 0 },
    { timeoutMs: 0 },
  ])('accepts %o', async (options) => {
    expect(await new Hub().close(options)).toEqual({ closed: 0, terminated: 0 })
  })

  it('answers 503 with Retry-After to upgrades meanwhile, without calling a route', async () => {
    const { hub, connectRaw, port, refusals } = await serve()
    const { client } = await connectRaw()
    const closing = hub.close()
    const answer = await RawClient.refused({ port })
    expect([answer.status, answer.header('retry-after')]).toEqual([503, expect.stringMatching(/^\d+$/)])
    expect(refusals.all).toEqual([])
    expect(hub.state).toBe('closing')
    client.socket.resetAndDestroy()
    expect(await closing).toEqual({ closed: 0, terminated: 1 })
  })

  it('answers 503 to upgrades that slow hooks have not decided, so that a server can be closed', async () => {
    const requests: IncomingMessage[] = []
    const hub = new Hub()
    const server = makeServer((req) => requests.push(req))
    hub.attach(server)
    await listen(server)
    const client = await RawClient.ask({ port: portOf(server) })
    await until('the request', () => requests.length === 1)
    expect(await hub.close()).toEqual({ closed: 0, terminated: 0 })
    const answer = await client.lastAnswer()
    expect([answer.status, answer.header('retry-after')]).toEqual([503, expect.stringMatching(/^\d+$/)])
    for (const req of requests) {
      expect(thrownBy(() => hub.upgrade(req, {}))).toMatchObject({ code: 'WSHUB_ERR_HUB_CLOSED' })
    }
    await stop(server)
  })
})

const fixture = fileURLToPath(new URL('../support/leaving-server.ts', import.meta.url))

async function firstMessage<T>(child: ChildProcess): Promise<T> {
  const exited = new AbortController()
  const exit = (code: number | null) => exited.abort(new Error(`the server exited with ${code}`))
  child.once('close', exit) // when what it has sent was received
  try {
    const [message] = await once(child, 'message', { signal: exited.signal })
    return message as T // the fixture declares its messages
  } catch (error) {
    throw exited.signal.aborted ? exited.signal.reason : error
  } finally {
    child.off('close', exit)
  }
}

interface Report {
  accepted: Record<string, number>
  result: CloseResult
  state: string
  stats: HubStats
}

describe.each(['Fastify', 'Express', 'Koa'])('SIGTERM under load, with %s,', (framework) => {
  it('loses no message that was accepted, and no client gets 1006', async () => {
    const child = fork(compiled(fixture), [framework], { execArgv: [] })
    onTestFinished(() => {
      child.kill('SIGKILL')
    })
    const { port } = await inTime('the port', firstMessage<{ port: number }>(child), () => child.exitCode)
    const url = `ws://127.0.0.1:${port}/ws`
    const clients = await Promise.all(Array.from({ length: 60 }, () => Client.open(url)))
    await Promise.all(clients.map((client) => client.received.until('the load', (all) => all.length > 20)))
    // A client that does not answer keeps the server from closing.
    const holdout = await RawClient.open({ port }, '/ws')
    const ready = () => fetch(`http://127.0.0.1:${port}/ready`).then(({ status }) => status)
    if (framework !== 'Fastify') expect(await ready()).toBe(200)

    const report = firstMessage<Report>(child)
    const exit = once(child, 'exit')
    child.kill('SIGTERM')
    const closes = await Promise.all(clients.map((client) => client.closed()))
    expect(new Set(closes)).toEqual(new Set(['1001']))
    const refusal = await RawClient.refused({ port }, '/ws')
    expect([refusal.status, refusal.header('retry-after')]).toEqual([503, expect.stringMatching(/^\d+$/)])
    if (framework !== 'Fastify') expect(await ready()).toBe(503)
    for (;;) {
      const frame = await holdout.frame()
      if (frame.opcode === 8) break
    }
    holdout.close(1001)

    const { accepted, result, state, stats } = await inTime('the report', report, () => closes)
    expect(result).toEqual({ closed: 61, terminated: 0 })
    expect(state).toBe('closed')
    expect(stats).toMatchObject({ connections: 0, lostConnections: 0, bufferedBytes: 0 })
    expect(Object.values(stats.dropped).every(({ messages }) => messages === 0)).toBe(true)
    for (const { received } of clients) {
      const [id = '', ...messages] = received.all
      expect(messages.map((message) => Number(message.split(' ')[0]))).toEqual(
        Array.from({ length: accepted[id] ?? -1 }, (_, i) => i + 1),
      )
    }
    expect(await inTime('the process to end', exit, () => child.exitCode)).toEqual([0, null])
  })
})
