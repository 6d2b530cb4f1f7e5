import { randomBytes } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { describe, expect, it } from 'vitest'
import type { EventHandler, HubOptions } from 'wshub'
import { type HubServer, serve, stop, turn } from '../support/hub-server.ts'
import { type Make, RunningProxy } from './support.ts'

const echo: EventHandler = {
  onMessage(connection, { data }) {
    if (typeof data === 'string') connection.sendText(data)
    else connection.sendBinary(data)
  },
}

export interface Application extends HubServer {
  /** The headers of the requests that arrived. */
  readonly requests: IncomingHttpHeaders[]
}

/** An application that echoes. */
export async function application(options: HubOptions = {}): Promise<Application> {
  const requests: IncomingHttpHeaders[] = []
  const server = await serve(options, echo, { before: ({ headers }) => requests.push(headers) })
  return Object.assign(server, { requests })
}

const isPong = (entry: string) => entry.startsWith('pong')

/**
 * Resolves after about two and a half seconds, measured by the pongs of another connection, because there is
 * no event to wait for.
 */
export async function overTwoSeconds(): Promise<void> {
  const pace = await serve({ pingIntervalMs: 500 })
  await pace.connect()
  await pace.log.until('five pongs', (all) => all.filter(isPong).length >= 5)
}

/** Tests for proxies that close a connection without traffic. */
export function describeIdleTimeout(make: Make): void {
  describe(`The idle timeout of ${make.name}`, () => {
    it('closes a silent connection while the hub does not ping', async () => {
      const app = await application({ pingIntervalMs: 0 })
      const proxy = await RunningProxy.start(make, { app: app.port, idle: '2s' })
      const before = performance.now() // the connection may be open for long when this test learns of it
      const client = await proxy.connect()
      expect(await client.closed()).toBe('1006')
      expect(performance.now() - before).toBeGreaterThan(1_500)
      await app.log.first('the end', (entry) => entry === 'close 1006')
    })

    it('keeps a silent connection while the hub pings more often', async () => {
      const app = await application({ pingIntervalMs: 700 })
      const proxy = await RunningProxy.start(make, { app: app.port, idle: '6s' })
      const client = await proxy.connect()
      await app.log.until('ten pongs', (all) => all.filter(isPong).length >= 10)
      client.socket.send('marker')
      expect(await client.upTo('marker')).toEqual([])
    })
  })
}

/** Tests for proxies whose old process keeps serving its connections. */
export function describeGracefulReload(make: Make): void {
  describe(`A reload of ${make.name}`, () => {
    it('keeps open connections, and leads new ones to the new address', async () => {
      const [before, after] = [await application(), await application()]
      const proxy = await RunningProxy.start(make, { app: before.port })
      const client = await proxy.connect()
      await proxy.reload({ app: after.port }, () => after.requests.length > 0)

      // For a moment both the old and the new process accept connections.
      while (after.connections.length === 0) await proxy.connect()
      client.socket.send('old')
      expect(await client.upTo('old')).toEqual([])
      expect(before.log.all.filter((entry) => entry !== 'open')).toEqual(['message old'])
    })

    it('closes connections that stay longer than it allows', async () => {
      const [before, after] = [await application(), await application()]
      const proxy = await RunningProxy.start(make, { app: before.port, linger: '1s' })
      const client = await proxy.connect()
      await proxy.reload({ app: after.port, linger: '1s' }, () => after.requests.length > 0)
      expect(await client.closed()).toBe('1006')
      await before.log.first('the end', (entry) => entry === 'close 1006')
    })
  })
}

/** Tests for every proxy that is set up as in `docs/proxies.md`. */
export function describeProxy(make: Make): void {
  async function behindProxy(options?: HubOptions): Promise<{ app: Application; proxy: RunningProxy }> {
    const app = await application(options)
    return { app, proxy: await RunningProxy.start(make, { app: app.port }) }
  }

  describe(`Behind ${make.name}`, () => {
    it('text, binary and empty messages are echoed, and the close code and reason arrive both ways', async () => {
      const { app, proxy } = await behindProxy({ protocols: ['chat'] })
      const client = await proxy.connect({}, ['chat'])
      expect(client.socket.protocol).toBe('chat')
      for (const data of ['héllo', Buffer.from([0, 255]), '', 'marker']) client.socket.send(data)
      expect(await client.upTo('marker')).toEqual(['héllo', '0x00ff', ''])
      client.socket.close(3000, 'bye')
      expect(await client.closed()).toBe('3000 bye')
      await app.log.first('the close', (entry) => entry === 'close 3000 bye')

      const other = await proxy.connect()
      app.connections[1]?.close(4000, 'enough')
      expect(await other.closed()).toBe('4000 enough')
    })

    it('a large message is echoed', async () => {
      const { proxy } = await behindProxy({ maxMessageSize: 4 << 20, maxBufferedBytes: 16 << 20 })
      const client = await proxy.connect()
      const data = randomBytes(4 << 20)
      client.socket.send(data)
      expect((await client.received.first('the echo', () => true)).slice(2)).toBe(data.toString('hex'))
    })

    it('compression is negotiated from end to end', async () => {
      const { proxy } = await behindProxy({ enableCompression: true })
      const client = await proxy.connect({ perMessageDeflate: { threshold: 0 } })
      expect(client.socket.extensions).toMatch(/^permessage-deflate/)
      client.socket.send('again and '.repeat(1_000))
      expect(await client.received.first('the echo', () => true)).toBe('again and '.repeat(1_000))
    })

    it("the page's own origin is admitted, a foreign one is refused with 403", async () => {
      const { app, proxy } = await behindProxy()
      await proxy.connect({ origin: proxy.origin })
      await expect(proxy.connect({ origin: 'https://evil.example' })).rejects.toThrow(/: 403$/)
      expect(app.refusals.all).toMatchObject([{ code: 'WSHUB_ERR_ORIGIN' }])
    })

    it("the application gets the client's address and scheme, whatever the client claims", async () => {
      const { app, proxy } = await behindProxy({ trustProxy: 1 })
      const headers = { 'X-Forwarded-For': '192.0.2.1', 'X-Forwarded-Proto': 'http' }
      await proxy.connect({ headers, localAddress: '127.0.0.2' })
      expect(app.requests).toMatchObject([{ 'x-forwarded-for': '127.0.0.2', 'x-forwarded-proto': 'https' }])
      expect(app.connections).toMatchObject([{ remoteAddress: '127.0.0.2' }])
    })

    it("the limits per address count the client's address, not the proxy's", async () => {
      const { proxy } = await behindProxy({ trustProxy: 1, limits: { maxConnectionsPerAddress: 1 } })
      await proxy.connect({ localAddress: '127.0.0.2' })
      await proxy.connect({ localAddress: '127.0.0.3' })
      await expect(proxy.connect({ localAddress: '127.0.0.3' })).rejects.toThrow(/: 429$/)
    })

    it('a refusal keeps its status, and an ordinary request stays one', async () => {
      const { proxy } = await behindProxy({ maxConnections: 1 })
      expect(await proxy.get()).toMatchObject({ status: 426 })
      await proxy.connect()
      await expect(proxy.connect()).rejects.toThrow(/: 503$/)
    })

    it(`an upgrade is answered with ${make.statusWithoutApp} while the application is down`, async () => {
      const { app, proxy } = await behindProxy()
      await stop(app.server)
      await expect(proxy.connect()).rejects.toThrow(`: ${make.statusWithoutApp}`)
    })

    it('each side is notified at once when the other disconnects', async () => {
      const { app, proxy } = await behindProxy()
      const client = await proxy.connect()
      client.socket.terminate()
      await app.log.first('the end', (entry) => entry.startsWith('close 1006'))

      const other = await proxy.connect()
      app.connections[1]?.terminate()
      expect(await other.closed()).toBe('1006')
    })

    it('a hub that closes sends its clients a close frame', async () => {
      const { app, proxy } = await behindProxy()
      const client = await proxy.connect()
      expect(await app.hub.close({ code: 1012, reason: 'deploy' })).toEqual({ closed: 1, terminated: 0 })
      expect(await client.closed()).toBe('1012 deploy')
    })

    it('a client that does not read is noticed', async () => {
      const { app, proxy } = await behindProxy()
      const client = await proxy.connect()
      const [connection] = app.connections
      client.socket.pause()
      let sent = 0
      const data = Buffer.alloc(65_536)
      // The buffers of the proxy and of the operating system are filled first: some MiB.
      while (connection?.sendBinary(data) === true && sent < 256 << 20) {
        sent += data.length
        await turn()
      }
      await app.log.first('the policy', (entry) => entry === 'error WSHUB_ERR_SLOW_CONSUMER')
      client.socket.resume()
      expect(await client.closed()).toBe('1013 too slow')
    })
  })
}
