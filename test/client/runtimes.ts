import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { type EventHandler, Handshake } from 'wshub'
import { inTime, serve } from '../support/hub-server.ts'
import { bundleForPage } from './bundle.ts'

/** Where programs run that have the client: a page of a browser, or a Node. */
export interface Runtime {
  /** Begins anew; in a browser on a page of this address. */
  begin(origin: string): Promise<void>
  /** Evaluates a program. @returns the string that its promise has as its value */
  evaluate(program: string): Promise<string>
  close(): Promise<void>
}

const echo: EventHandler = {
  onMessage(connection, { data }) {
    if (typeof data === 'string') connection.sendText(data)
    else connection.sendBinary(data)
  },
}

/** The behaviour that every runtime shows, with its own WebSocket. */
export function describeRuntime(name: string, launch: () => Promise<Runtime>, isPage: boolean): void {
  let runtime: Runtime
  let bundle: string

  beforeAll(async () => {
    runtime = await launch()
    bundle = (
      await bundleForPage(`
        import { logged, record } from '../test/client/runtime-program.ts'
        Object.assign(globalThis, { logged, record })`)
    ).text
  })
  afterAll(() => runtime.close())

  /** Serves a hub, and brings the client to a page of it. */
  async function start(...args: Parameters<typeof serve>) {
    const app = await serve(...args)
    await runtime.begin(`http://127.0.0.1:${app.port}`)
    await runtime.evaluate(`{ ${bundle} }; Promise.resolve('')`)
    const run = async (body: string): Promise<unknown> => {
      const program = `(async () => { ${body} })().then((value) => JSON.stringify(value) ?? 'null')`
      return JSON.parse(await inTime(body, runtime.evaluate(program), () => app.log.all))
    }
    onTestFinished(async () => void (await run('globalThis.client?.socket.close()')))
    return { app, run }
  }

  describe(`The client in ${name}`, () => {
    it('sends and receives text and binary, and closes', async () => {
      const { app, run } = await start({ protocols: ['chat'] }, echo)
      const log = await run(`
        globalThis.client = record('${app.url}', { protocols: ['chat'] })
        client.socket.send('waits: ü')
        client.socket.send(Uint8Array.of(0, 255))
        await logged(client, 'binary')
        client.socket.send('🦄')
        await logged(client, 'text 🦄')
        client.log.push([client.socket.protocol, client.socket.readyState, client.socket.url].join())
        client.socket.close(3000, 'bye')
        await logged(client, 'close')
        return client.log`)
      expect(log).toEqual([
        'open',
        'text waits: ü',
        'binary 0,255',
        'text 🦄',
        `chat,1,${app.url}/`,
        'close 3000 bye clean 3',
      ])
    })

    it('comes back after 1001, 1011, 1012, 1013 and a cut, and not after 1008', async () => {
      const { app, run } = await start()
      const client = run(`
        globalThis.client = record('${app.url}')
        client.socket.addEventListener('open', () => client.socket.send('opened'))
        await logged(client, 'close 1008')
        return client.log`)
      for (const [index, code] of [1001, 1011, 1012, 1013, 1006, 1008].entries()) {
        // A cut that overtakes the event `open` would leave that out.
        await app.log.until('a connection that is open on both sides', (entries) => {
          return entries.filter((entry) => entry === 'message opened').length > index
        })
        const connection = app.connections[index]
        if (code === 1006) connection?.terminate()
        else connection?.close(code, 'why')
      }
      // Whether a cut is an error is told by some runtimes.
      const log = ((await client) as string[]).filter((line) => line !== 'error')
      expect(log).toEqual([
        ...[1001, 1011, 1012, 1013].flatMap((code) => ['open', `close ${code} why clean 0`]),
        'open',
        'close 1006  unclean 0',
        'open',
        'close 1008 why clean 3',
      ])
      expect(app.connections).toHaveLength(6)
    })

    it('tries again after upgrades that were refused', async () => {
      const { app, run } = await start({ maxConnections: 1 })
      const { client: other } = await app.connect()
      const log = run(`
        globalThis.client = record('${app.url}')
        client.socket.send('waits')
        await logged(client, 'open')
        return client.log`)
      await app.refusals.until('three refusals', ({ length }) => length >= 3)
      await other.close()
      await app.log.first('the message', (entry) => entry === 'message waits')
      expect(new Set((await log) as string[])).toEqual(new Set(['error', 'close 1006  unclean 0', 'open']))
    })

    it('asks for a token before each attempt, and after 4401', async () => {
      const tokens: unknown[] = []
      const before = (req: Parameters<typeof Handshake.bearerToken>[0]) => {
        if (req.headers.upgrade !== undefined) tokens.push(Handshake.bearerToken(req))
      }
      const { app, run } = await start({ protocols: ['chat'] }, {}, { before })
      const log = run(`
        let count = 0
        const token = async () => 'token-' + ++count
        globalThis.client = record('${app.url}', { protocols: 'chat', token })
        await logged(client, 'open', 2)
        return client.log`)
      await app.log.first('a connection', (entry) => entry === 'open')
      await app.upgrades[0]
      app.connections[0]?.close(4401, 'credential expired')
      expect(await log).toEqual(['open', 'close 4401 credential expired clean 0', 'open'])
      expect(tokens).toEqual(['token-1', 'token-2'])
    })

    it('notices a connection on which nothing comes', async () => {
      const { app, run } = await start()
      const log = await run(`
        globalThis.client = record('${app.url}', { heartbeatTimeoutMs: 20 })
        await logged(client, 'open', 3)
        client.socket.close()
        return client.log.slice(0, 4)`)
      expect(log).toEqual(['open', 'error', 'close 1006  unclean 0', 'open'])
    })

    it('swallows heartbeats, and stays', async () => {
      const { app, run } = await start({ heartbeat: { everyMs: 20 } })
      const { client: other } = await app.connect()
      const log = run(`
        globalThis.client = record('${app.url}', { heartbeatTimeoutMs: 60_000 })
        await logged(client, 'text marker')
        return client.log`)
      await app.log.until('two connections', () => app.connections.length === 2)
      const before = other.received.all.length
      await other.received.until('five heartbeats', ({ length }) => length >= before + 5)
      app.hub.broadcast('marker')
      expect(await log).toEqual(['open', 'text marker'])
    })

    it('hands positions to onReconnect', async () => {
      const { app, run } = await start()
      const seen = run(`
        let seen
        globalThis.client = record('${app.url}', {
          positionOf: (data) => ({ room: 'tea', position: data }),
          onReconnect: (socket, positions) => { seen = [...positions] },
        })
        await logged(client, 'open', 2)
        return seen`)
      await app.log.first('a connection', (entry) => entry === 'open')
      app.connections[0]?.sendText('e.1')
      app.connections[0]?.sendText('e.2')
      app.connections[0]?.close(1012)
      expect(await seen).toEqual([['tea', 'e.2']])
    })

    if (isPage) {
      it.each(['online', 'visibilitychange'])('connects at once on %s', async (type) => {
        const { app, run } = await start()
        const target = type === 'online' ? 'window' : 'document'
        const client = run(`
          globalThis.client = record('${app.url}', { minDelayMs: 600_000, maxDelayMs: 600_000 })
          await logged(client, 'close')
          ${target}.dispatchEvent(new Event('${type}'))
          await logged(client, 'open', 2)
          return client.log`)
        await app.log.first('a connection', (entry) => entry === 'open')
        app.connections[0]?.close(1011)
        expect(await client).toEqual(['open', 'close 1011  clean 0', 'open'])
      })

      it('waits on when the server has asked for it', async () => {
        const { app, run } = await start()
        const client = run(`
          globalThis.client = record('${app.url}', { minDelayMs: 600_000, maxDelayMs: 600_000 })
          await logged(client, 'close')
          window.dispatchEvent(new Event('online'))
          document.dispatchEvent(new Event('visibilitychange'))
          const other = record('${app.url}')
          await logged(other, 'open')
          other.socket.close()
          return client.log`)
        await app.log.first('a connection', (entry) => entry === 'open')
        app.connections[0]?.close(1013)
        expect(await client).toEqual(['open', 'close 1013  clean 0'])
        expect(app.connections).toHaveLength(2)
      })

      it('stops listening to the page once it is closed', async () => {
        const { app, run } = await start()
        const log = await run(`
          globalThis.client = record('${app.url}')
          await logged(client, 'open')
          client.socket.close()
          await logged(client, 'close')
          window.dispatchEvent(new Event('online'))
          const other = record('${app.url}')
          await logged(other, 'open')
          other.socket.close()
          return client.log.filter((line) => line === 'open')`)
        expect(log).toEqual(['open'])
        expect(app.connections).toHaveLength(2)
      })
    }
  })
}
