import { createServer, type RequestListener } from 'node:http'
import type { Duplex } from 'node:stream'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { Hub, type HubOptions } from 'wshub'
import { closeAfterTest, closeApps, echo, listen } from '../adapters/frameworks.ts'
import { destroyClients, RawClient, until } from '../support/raw.ts'

afterEach(async () => {
  vi.useRealTimers()
  destroyClients()
  await closeApps()
})

/**
 * A hub on a server with another `upgrade` listener, which never answers. The timers of the hub are stopped.
 */
async function besideSilence(
  options: HubOptions,
  answer: RequestListener,
  neighbour = (_socket: Duplex) => {},
) {
  const hub = new Hub(options)
  const answered: (string | undefined)[] = []
  const server = createServer((req, res) => {
    if (req.url?.startsWith('/ws')) {
      if (req.url === '/ws-with-hints') res.writeEarlyHints({ link: '</style.css>; rel=preload' })
      void hub.upgrade(req, echo)
      return
    }
    answer(req, res)
    answered.push(req.url)
  })
  hub.attach(server)
  server.on('upgrade', (_req, socket) => neighbour(socket))
  closeAfterTest(hub, server)
  const target = await listen(server)
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  /** Sends upgrades; when this resolves, our routes have answered them. */
  const ask = async (count: number) => {
    const before = answered.length
    const clients: RawClient[] = []
    for (let i = 0; i < count; i++) clients.push(await RawClient.ask(target, '/nowhere'))
    await until('the answers of our route', () => answered.length === before + count)
    return clients
  }
  return { hub, target, ask }
}

describe('Answers that are held back for a silent neighbour', () => {
  it('are sent, the oldest first, if there are more than maxPendingUpgrades', async () => {
    const limits = { maxPendingUpgrades: 3, upgradeTimeoutMs: 0 }
    const { hub, target, ask } = await besideSilence({ limits }, (_req, res) => res.writeHead(404).end())
    const first = await ask(3)
    expect(hub.stats().pendingUpgrades).toBe(3)
    vi.advanceTimersByTime(500)
    expect(hub.stats().pendingUpgrades).toBe(0)
    const second = await ask(2)
    vi.advanceTimersByTime(500)
    for (const client of first.slice(0, 2)) expect((await client.lastAnswer()).status).toBe(404)
    await (await RawClient.open(target, '/ws')).echoes()

    // The three others wait as long as a neighbour may take.
    const others = [...first.slice(2), ...second]
    const early = others.map(async (client) => (await client.lastAnswer()).status)
    const marker = RawClient.open(target, '/ws').then(() => 'a marker')
    expect(await Promise.race([...early, marker])).toBe('a marker')
    vi.advanceTimersByTime(3_000)
    expect(await Promise.all(early)).toEqual([404, 404, 404])
    expect(hub.stats().pendingUpgrades).toBe(0)
  })

  it('count as pending again until their clients have read them', async () => {
    const { hub, target, ask } = await besideSilence({ limits: { upgradeTimeoutMs: 0 } }, (_req, res) => {
      res.writeHead(404).end(Buffer.alloc(32 * 1_048_576))
    })
    const [client] = await ask(1)
    client?.pause()
    vi.advanceTimersByTime(500)
    expect(hub.stats().pendingUpgrades).toBe(0)
    vi.advanceTimersByTime(30_000)
    expect(hub.stats().pendingUpgrades).toBe(1)
    await (await RawClient.open(target, '/ws')).echoes()
    expect(hub.stats().pendingUpgrades).toBe(1)
    client?.destroy()
    await until('it to be forgotten', () => hub.stats().pendingUpgrades === 0)
  })

  it('are sent after 3 s if a neighbour has only guarded against errors, as Vite and Next.js do', async () => {
    const answer: RequestListener = (_req, res) => res.writeHead(404).end()
    const { ask } = await besideSilence({}, answer, (socket) => socket.on('error', () => {}))
    const [client] = await ask(1)
    vi.advanceTimersByTime(3_000)
    expect((await client?.lastAnswer())?.status).toBe(404)
  })

  it.each<[string, number, (socket: Duplex) => void]>([
    ['a neighbour has listened to the socket', 404, (socket) => socket.on('close', () => {})],
    [
      'a neighbour listens a microtask later',
      404,
      (socket) => queueMicrotask(() => socket.on('data', () => {})),
    ],
    ['it is a 400, which may be of the request listener of Socket.IO', 400, () => {}],
  ])('are sent after 30 s if %s', async (_why, status, neighbour) => {
    const { target, ask } = await besideSilence({}, (_req, res) => res.writeHead(status).end(), neighbour)
    const [client] = await ask(1)
    const early = client?.lastAnswer().then((answer) => answer.status)
    vi.advanceTimersByTime(29_500)
    const marker = RawClient.open(target, '/ws').then(() => 'a marker')
    expect(await Promise.race([early, marker])).toBe('a marker')
    vi.advanceTimersByTime(500)
    expect(await early).toBe(status)
  })

  it('may begin with Early Hints: the upgrade opens after them', async () => {
    const { target } = await besideSilence({}, (_req, res) => res.writeHead(404).end())
    const client = await RawClient.ask(target, '/ws-with-hints')
    expect((await client.head()).status).toBe(103)
    await client.opened()
    await client.echoes()
  })
})
