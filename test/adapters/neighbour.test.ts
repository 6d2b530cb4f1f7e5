import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Server as SocketIO } from 'socket.io'
import { io, type Socket } from 'socket.io-client'
import { createServer as createVite, type ViteDevServer } from 'vite'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { WebSocketServer } from 'ws'
import { destroyClients, handshake, inTime, RawClient, request, sampleKey, until } from '../support/raw.ts'
import { type App, type AppOptions, closeApps, echoRoute, frameworks } from './frameworks.ts'

const leftovers: (() => Promise<unknown> | unknown)[] = []

afterEach(async () => {
  vi.useRealTimers()
  destroyClients()
  for (const end of leftovers.splice(0)) await end()
  await closeApps()
})

/** The timers of the server; a client waits by the real ones. */
const fakeTimers = () =>
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] })

/** The paths: one upgrades, one refuses, one is slow; no other exists. */
const routes: AppOptions['routes'] = {
  '/ws': echoRoute,
  '/page': (exchange) => exchange.send(200, 'page'),
  '/private': (exchange) => exchange.send(401, 'who are you?'),
  '/slow-private': async (exchange) => {
    await new Promise((resolve) => setTimeout(resolve, 700))
    exchange.send(401, 'who are you?')
  },
  '/slow': async (exchange) => {
    await new Promise((resolve) => setTimeout(resolve, 300))
    await exchange.upgrade({
      onMessage: (conn, message) => void conn.sendText(String(message.data)),
    })
  },
}

/** Our routes beside a neighbour: HTTP, an upgrade, and an upgrade behind an async hook. */
async function checkOurs(app: App): Promise<void> {
  const client = await RawClient.connect(app)
  client.write(request('/page'))
  expect((await client.answer()).body).toBe('page')
  client.write(handshake('/ws'))
  await client.opened()
  await client.echoes()
  await (await RawClient.open(app, '/slow')).echoes()
  // A refusal by our own route is not held back by a timer, so no time has to pass.
  fakeTimers()
  const refused = await RawClient.refused(app, '/ws', { headers: { Origin: 'https://evil.example' } })
  expect(refused.status).toBe(403)
  vi.useRealTimers()
}

const engineIO = '/socket.io/?EIO=4&transport=websocket'

/** Returns the status of an answer that is held back for a neighbour; advances the server's timers. */
async function statusInTheEnd(app: App, path: string, withinMs = 60_000): Promise<number> {
  const client = await RawClient.connect(app)
  fakeTimers()
  client.write(handshake(path))
  await until('a timer of the bridge', () => vi.getTimerCount() > 0)
  await vi.advanceTimersByTimeAsync(withinMs)
  const answer = await client.lastAnswer()
  expect(answer.header('connection')).toBe('close')
  return answer.status
}

describe.each(frameworks)('Neighbour in $name', ({ start }) => {
  describe('Socket.IO', () => {
    /** Attached to a server that has already served an upgrade of ours, or before the first. */
    async function startBoth(
      order: 'before' | 'after',
      options: ConstructorParameters<typeof SocketIO>[1] = {},
    ): Promise<App> {
      const app = await start({ routes })
      if (order === 'after') await RawClient.open(app)
      // A process that stalls for a second must not lose an upgrade by this.
      const sockets = new SocketIO(app.server, { destroyUpgradeTimeout: 60_000, ...options })
      sockets.on('connection', (socket) => {
        socket.on('say', (data, reply) => reply(`${socket.conn.transport.name} ${data}`))
      })
      // Only disconnects: closing it would close the application's server too.
      leftovers.push(() => {
        sockets.disconnectSockets(true)
        sockets.engine.close()
      })
      return app
    }

    async function connectIO(app: App, transports: string[]): Promise<Socket> {
      const socket = io(`http://127.0.0.1:${app.port}`, { transports, forceNew: true, reconnection: false })
      leftovers.push(() => socket.disconnect())
      await inTime(
        `Socket.IO over ${transports}`,
        new Promise<void>((resolve, reject) => {
          socket.once('connect', resolve)
          socket.once('connect_error', reject)
        }),
      )
      return socket
    }

    describe.each(['before', 'after'] as const)('attached %s the first upgrade', (order) => {
      it.each([
        { kind: 'no allowRequest', options: {} },
        {
          kind: 'an async allowRequest',
          options: {
            allowRequest: (_req: unknown, done: (error: null, allowed: boolean) => void) => {
              setTimeout(() => done(null, true), 200)
            },
          },
        },
      ])('keeps its transports with $kind, and so does the hub', async ({ options }) => {
        const app = await startBoth(order, options)
        const [polling, webSocket, upgrading] = await Promise.all([
          connectIO(app, ['polling']),
          connectIO(app, ['websocket']),
          connectIO(app, ['polling', 'websocket']),
        ])
        const say = (socket: Socket): Promise<string> => inTime('an answer', socket.emitWithAck('say', 'hi'))
        expect(await say(polling)).toBe('polling hi')
        expect(await say(webSocket)).toBe('websocket hi')
        await until('the upgrade of Socket.IO', () => upgrading.io.engine.transport.name === 'websocket')
        expect(await say(upgrading)).toBe('websocket hi')
        await checkOurs(app)
        expect(await say(polling)).toBe('polling hi')
        expect(await say(webSocket)).toBe('websocket hi')
        expect(await say(upgrading)).toBe('websocket hi')
      })
    })

    it('refuses the upgrades that its allowRequest refuses', async () => {
      const app = await startBoth('before', {
        allowRequest: (_req, done) => void setTimeout(() => done('not you', false), 50),
      })
      const answer = await RawClient.refused(app, engineIO)
      expect(answer.status).toBe(400)
      expect(answer.body).toContain('not you')
    })

    it('may take long in its allowRequest', async () => {
      let asked = 0
      const app = await startBoth('before', {
        allowRequest: (_req, done) => {
          asked++
          setTimeout(() => done(null, true), 20_000)
        },
      })
      const client = await RawClient.connect(app)
      fakeTimers()
      client.write(handshake(engineIO))
      await until('allowRequest', () => asked === 1)
      await (await RawClient.open(app)).echoes()
      await vi.advanceTimersByTimeAsync(20_000)
      await client.opened()
      expect(await client.message()).toMatch(/^0{"sid":/)
      expect(asked).toBe(1)
    })

    it('leaves the 401 of a path that nobody upgrades', async () => {
      const app = await startBoth('before')
      const answer = await RawClient.refused(app, '/private')
      expect([answer.status, answer.header('connection')]).toEqual([401, 'close'])
    })

    it('ends an upgrade of an unknown path: with 404 or, as without the hub, without an answer', async () => {
      const app = await startBoth('before', { destroyUpgradeTimeout: 1_000 })
      const client = await RawClient.ask(app, '/nowhere')
      await client.ended()
    })

    it('leaves the 404 of an unknown path when it must not destroy upgrades', async () => {
      const app = await startBoth('before', { destroyUpgrade: false })
      expect(await statusInTheEnd(app, '/nowhere', 3_000)).toBe(404)
    })
  })

  describe('WebSocketServer of ws', () => {
    /** A server for its own path, which answers 400 to all others in the tick of the event. */
    function mount(app: App, path: string, options: ConstructorParameters<typeof WebSocketServer>[0] = {}) {
      const theirs = new WebSocketServer({ server: app.server, path, ...options })
      theirs.on('connection', (socket) => {
        socket.on('error', () => {})
        socket.on('message', (data) => socket.send(`${path} ${data}`))
      })
      leftovers.push(() => {
        for (const socket of theirs.clients) socket.terminate()
        theirs.close()
      })
    }

    async function checkTheirs(app: App, path: string): Promise<void> {
      const client = await RawClient.open(app, path)
      client.send('hi')
      expect(await client.message()).toBe(`${path} hi`)
    }

    it.each(['before', 'after'] as const)('keeps its path, mounted %s the first upgrade', async (order) => {
      const app = await start({ routes })
      if (order === 'after') await RawClient.open(app)
      mount(app, '/theirs')
      await checkTheirs(app, '/theirs')
      await checkOurs(app)
      await checkTheirs(app, '/theirs')
    })

    it('ends a connection of ours neither early nor late', async () => {
      const app = await start({ routes })
      mount(app, '/theirs')
      const client = await RawClient.open(app)
      await client.echoes()
      client.close(1000)
      expect((await client.frame()).payload.readUInt16BE(0)).toBe(1000)
      await client.ended()
      await until('our connection to be closed', () => app.hub.size === 0)
    })

    it('does not refuse an upgrade that a second one accepts', async () => {
      const app = await start({ routes })
      mount(app, '/first')
      mount(app, '/second')
      await checkTheirs(app, '/first')
      await checkTheirs(app, '/second')
      await checkOurs(app)
    })

    it('refuses upgrades that no route of ours accepts, and those that its own check refuses', async () => {
      const app = await start({ routes })
      mount(app, '/theirs', { verifyClient: (_info, done) => done(false, 418, 'a teapot') })
      expect((await RawClient.refused(app, '/nowhere')).status).toBe(400)
      expect((await RawClient.refused(app, '/theirs')).status).toBe(418)
      expect((await RawClient.refused(app, '/private')).status).toBe(401)
    })
  })

  describe('a listener that closes upgrades of other paths', () => {
    it('leaves our routes alone', async () => {
      const app = await start({ routes })
      app.server.on('upgrade', (req, socket) => {
        if (req.url !== '/theirs') socket.destroy() // like Nest's adapter for ws
      })
      await checkOurs(app)
      const client = await RawClient.ask(app, '/nowhere')
      await client.ended()
      await expect(client.head()).rejects.toThrow(/saw: \[(end|close)/)
    })
  })

  describe('Vite', () => {
    async function startBoth(): Promise<{ app: App; vite: ViteDevServer }> {
      const app = await start({ routes })
      const root = await mkdtemp(join(tmpdir(), 'wshub-vite-'))
      await writeFile(join(root, 'index.html'), '<script type="module" src="/main.js"></script>')
      await writeFile(join(root, 'main.js'), 'console.log(1)')
      const vite = await createVite({
        configFile: false,
        root,
        logLevel: 'silent',
        appType: 'custom',
        optimizeDeps: { noDiscovery: true },
        server: { middlewareMode: true, hmr: { server: app.server } },
      })
      leftovers.push(
        () => vite.close(),
        () => rm(root, { recursive: true, force: true }),
      )
      return { app, vite }
    }

    const hmr = (vite: ViteDevServer) => `/?token=${vite.config.webSocketToken}`
    const asHmr = { 'Sec-WebSocket-Protocol': 'vite-hmr', 'Sec-WebSocket-Key': sampleKey }

    it('keeps its HMR socket, and so does the hub', async () => {
      const { app, vite } = await startBoth()
      const page = await RawClient.ask(app, hmr(vite), { headers: asHmr })
      expect((await page.opened()).header('sec-websocket-protocol')).toBe('vite-hmr')
      expect(JSON.parse(await page.message())).toEqual({ type: 'connected' })
      await checkOurs(app)
      vite.ws.send({ type: 'full-reload' })
      expect(JSON.parse(await page.message())).toMatchObject({ type: 'full-reload' })
      // And after an upgrade of ours.
      const second = await RawClient.open(app, hmr(vite), { headers: asHmr })
      expect(JSON.parse(await second.message())).toEqual({ type: 'connected' })
    })

    it('leaves the 401 of a path that nobody upgrades', async () => {
      const { app } = await startBoth()
      const answer = await RawClient.refused(app, '/private')
      expect([answer.status, answer.header('connection')]).toEqual([401, 'close'])
    })

    it('leaves the 401 of a path within seconds, also when that is decided slowly', async () => {
      const { app } = await startBoth()
      expect(await statusInTheEnd(app, '/slow-private', 3_000)).toBe(401)
    })

    it('leaves the 404 of an unknown path within three seconds', async () => {
      const { app } = await startBoth()
      expect(await statusInTheEnd(app, '/nowhere', 3_000)).toBe(404)
    })
  })
})
