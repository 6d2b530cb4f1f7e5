import { afterEach, describe, expect, it } from 'vitest'
import type { Connection, EventHandler } from 'wshub'
import { closing, destroyClients, Gate, handshake, RawClient, request, text, until } from '../support/raw.ts'
import { closeApps, type Exchange, echo, echoRoute, frameworks, type Route } from './frameworks.ts'
import { failOnStrayErrors } from './stray-errors.ts'

failOnStrayErrors('warning')

afterEach(async () => {
  destroyClients()
  await closeApps()
})

const codeOf = (error: unknown) => (error as { code?: unknown }).code

describe.each(frameworks)('Handshake with $name', ({ name, start }) => {
  describe('with frames in its packet', () => {
    it('loses no frame and keeps their order when onOpen is sync', async () => {
      const log: string[] = []
      const app = await start({
        routes: {
          '/ws': async (exchange) => {
            await exchange.upgrade({
              onOpen: () => void log.push('open'),
              onMessage: (_conn, { data }) => void log.push(`message ${data}`),
              onClose: (_conn, code) => void log.push(`close ${code}`),
            })
            log.push('after await')
          },
        },
      })
      const client = await RawClient.connect(app)
      client.write(handshake(), text('a'), text('b'), text('c'), closing(1000))
      await client.opened()
      await client.frame()
      await client.ended()
      await until('the close', () => log.includes('close 1000'))
      expect(log).toEqual(['open', 'after await', 'message a', 'message b', 'message c', 'close 1000'])
    })

    it('lets no message overtake an async onOpen', async () => {
      const log: string[] = []
      const gate = new Gate()
      const app = await start({
        routes: {
          '/echo': echoRoute,
          '/ws': async (exchange) => {
            await exchange.upgrade({
              onOpen: async (conn) => {
                log.push('open')
                conn.sendText('welcome')
                await gate.passed()
                log.push('opened')
              },
              onMessage: (conn, { data }) => {
                log.push(`message ${data}`)
                conn.sendText(`got ${data}`)
              },
            })
            log.push('after await')
          },
        },
      })
      const client = await RawClient.connect(app)
      client.write(handshake(), text('a'), text('b'))
      await client.opened()
      expect(await client.message()).toBe('welcome')
      await client.write(text('c'))
      await (await RawClient.open(app, '/echo')).echoes()
      await (await RawClient.open(app, '/echo')).echoes()
      expect(log).toEqual(['open'])
      gate.open()
      for (const data of ['a', 'b', 'c']) expect(await client.message()).toBe(`got ${data}`)
      expect(log).toEqual(['open', 'opened', 'after await', 'message a', 'message b', 'message c'])
    })

    it('loses nothing while an async hook runs before the route', async () => {
      const app = await start({
        routes: { '/ws': echoRoute },
        before: async () => {
          for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
          return false
        },
      })
      const client = await RawClient.connect(app)
      const first = text('first')
      // Half a frame arrives with the handshake; the rest and the next one arrive while the hook runs.
      await client.write(handshake(), first.subarray(0, 3))
      await client.write(first.subarray(3), text('second'))
      await client.opened()
      expect([await client.message(), await client.message()]).toEqual(['first', 'second'])
    })

    it('loses none of many frames', async () => {
      const app = await start({ routes: { '/ws': echoRoute } })
      const client = await RawClient.connect(app)
      const all = Array.from({ length: 500 }, (_, i) => `message ${i} ${'x'.repeat(i)}`)
      client.write(handshake(), ...all.map(text))
      await client.opened()
      const echoed: string[] = []
      while (echoed.length < all.length) echoed.push(await client.message())
      expect(echoed).toEqual(all)
    })
  })

  describe('on a TCP connection that has served HTTP', () => {
    it('opens after an ordinary GET', async () => {
      const app = await start({
        routes: { '/ws': echoRoute, '/': (exchange) => exchange.send(200, 'page') },
      })
      const client = await RawClient.connect(app)
      for (let i = 0; i < 3; i++) {
        client.write(request('/'))
        expect((await client.answer()).body).toBe('page')
      }
      client.write(handshake(), text('at once'))
      await client.opened()
      expect(await client.message()).toBe('at once')
      await client.echoes()
    })

    it('is refused after an ordinary GET as anywhere', async () => {
      const app = await start({
        routes: { '/ws': echoRoute, '/': (exchange) => exchange.send(200, 'page') },
      })
      const client = await RawClient.connect(app)
      client.write(request('/'))
      await client.answer()
      client.write(handshake('/ws', { headers: { 'Sec-WebSocket-Version': '8' } }))
      expect((await client.lastAnswer()).status).toBe(426)
    })

    it('opens behind the answer to a slow GET that it was pipelined behind', async () => {
      const slow = new Gate()
      const served = new Gate()
      const app = await start({
        routes: {
          '/ws': echoRoute,
          '/slow': async (exchange) => {
            await slow.passed()
            exchange.send(200, 'slow')
            served.open()
          },
        },
      })
      const client = await RawClient.connect(app)
      client.write(request('/slow'), handshake(), text('early'))
      slow.open()
      await served.passed()
      expect((await client.answer()).body).toBe('slow')
      await client.opened()
      expect(await client.message()).toBe('early')
      expect(app.hub.size).toBe(1)
    })

    it('opens when it is pipelined behind a GET that is answered at once', async () => {
      const app = await start({
        routes: { '/ws': echoRoute, '/': (exchange) => exchange.send(200, 'page') },
      })
      const client = await RawClient.connect(app)
      client.write(request('/'), handshake())
      expect((await client.answer()).body).toBe('page')
      await client.opened()
      await client.echoes()
    })
  })

  describe('after Early Hints', () => {
    const link = '</style.css>; rel=preload; as=style'
    const hint = ({ res }: Exchange): false => {
      res.writeEarlyHints({ link })
      return false
    }
    const hintAndEcho: Route = (exchange) => {
      hint(exchange)
      return echoRoute(exchange)
    }

    it.each([
      ['of middleware', { before: hint, route: echoRoute }],
      ['of the route', { route: hintAndEcho }],
    ])('%s opens', async (_whose, { route, ...options }) => {
      const app = await start({ routes: { '/ws': route }, ...options })
      const client = await RawClient.ask(app)
      const hints = await client.head()
      expect([hints.status, hints.header('link')]).toEqual([103, link])
      await client.opened()
      await client.echoes()
    })

    it('of middleware and of the route, among 100 and 102, opens', async () => {
      const app = await start({
        routes: { '/ws': hintAndEcho },
        before: ({ res }) => {
          res.writeContinue()
          res.writeProcessing()
          return false
        },
      })
      const client = await RawClient.ask(app)
      for (const status of [100, 102, 103]) expect((await client.head()).status).toBe(status)
      await client.opened()
      await client.echoes()
    })

    it('is refused as without them', async () => {
      const app = await start({
        routes: { '/ws': echoRoute },
        before: hint,
      })
      const client = await RawClient.ask(app, '/ws', { headers: { Origin: 'https://evil.example' } })
      expect((await client.head()).status).toBe(103)
      expect((await client.lastAnswer()).status).toBe(403)
    })
  })

  it('throws in a route that has begun to answer', async () => {
    const codes: unknown[] = []
    const app = await start({
      routes: {
        '/ws': (exchange) => {
          exchange.res.writeHead(404, { 'Content-Type': 'text/plain' }).write('a page')
          try {
            void exchange.upgrade(echo)
          } catch (error) {
            codes.push(codeOf(error))
          }
          exchange.res.end()
        },
      },
    })
    expect((await RawClient.refused(app)).status).toBe(404)
    expect(codes).toEqual(['WSHUB_ERR_SOCKET_CLOSED'])
  })

  describe('that opens', () => {
    const upgrade = (handler: EventHandler, init: Parameters<Exchange['upgrade']>[1]) => ({
      '/ws': (exchange: Exchange) => {
        exchange.setHeader('Set-Cookie', ['a=1; HttpOnly', 'b=2'])
        exchange.setHeader('X-Here', 'yes')
        exchange.setHeader('Content-Type', 'text/html')
        return exchange.upgrade(handler, init)
      },
    })

    it('sends headers of the response and of init, but none about a body', async () => {
      const app = await start({
        routes: upgrade(echo, { headers: { 'X-Init': 'init', 'X-List': ['1', '2'], 'X-Number': 7 } }),
      })
      const client = await RawClient.ask(app)
      const answer = await client.opened()
      expect(answer.headers.get('set-cookie')).toEqual(['a=1; HttpOnly', 'b=2'])
      expect(answer.header('x-here')).toBe('yes')
      expect(answer.header('x-init')).toBe('init')
      expect(answer.header('x-list')).toBe('1, 2')
      expect(answer.header('x-number')).toBe('7')
      expect(answer.header('content-type')).toBeUndefined()
      expect(answer.headers.get('connection')).toEqual(['Upgrade'])
      await client.echoes()
    })

    it('prefers a header of init to one of the response, whatever their case', async () => {
      const app = await start({ routes: upgrade(echo, { headers: { 'x-HERE': 'init' } }) })
      const answer = await (await RawClient.ask(app)).opened()
      expect(answer.headers.get('x-here')).toEqual(['init'])
    })

    it('sends headers that are named like members of an object', async () => {
      const names = ['constructor', '__proto__', 'tostring']
      const headers = Object.fromEntries(names.map((name) => [name, `of init: ${name}`]))
      const app = await start({
        routes: {
          '/ws': ({ upgrade }) => upgrade(echo, { headers }),
          '/refused': (exchange) => {
            for (const name of names) exchange.res.setHeader(name, 'of the response')
            exchange.send(401, 'no')
          },
        },
      })
      const client = await RawClient.ask(app)
      const answer = await client.opened()
      for (const name of names) expect(answer.headers.get(name)).toEqual([`of init: ${name}`])
      await client.echoes()
      const refused = await RawClient.refused(app, '/refused')
      expect(refused.status).toBe(401)
      if (name !== 'Fastify')
        for (const name of names) expect(refused.headers.get(name)).toEqual(['of the response'])
    })

    it('answers 500 instead when a header holds a line break', async () => {
      const app = await start({
        routes: upgrade(echo, { headers: { 'X-Evil': 'a\r\nSet-Cookie: admin=1' } }),
        onError: (error, exchange) => exchange.send(500, String(codeOf(error))),
      })
      const answer = await RawClient.refused(app)
      expect([answer.status, answer.body]).toEqual([500, 'WSHUB_ERR_INVALID_HEADER'])
      expect(answer.head).not.toContain('admin')
    })

    it('has the metadata of init before onOpen', async () => {
      const seen: unknown[] = []
      const app = await start({
        routes: {
          '/ws': async (exchange) => {
            const connection = await exchange.upgrade(
              { onOpen: (conn) => void seen.push(conn.metadata.get('user')) },
              { metadata: { user: 'ada' } },
            )
            seen.push(connection.metadata.get('user'), connection.remoteAddress)
            connection.sendText('done')
          },
        },
      })
      const client = await RawClient.open(app)
      expect(await client.message()).toBe('done')
      expect(seen).toEqual(['ada', 'ada', '127.0.0.1'])
    })

    it.each([
      { offered: 'soap, wamp', init: 'wamp', chosen: 'wamp' },
      { offered: 'soap,chat', init: undefined, chosen: 'chat' },
      { offered: 'soap', init: undefined, chosen: undefined },
      { offered: 'soap', init: 'wamp', chosen: undefined },
      { offered: undefined, init: 'wamp', chosen: undefined },
    ])('chooses $chosen of $offered if init has the protocol $init', async ({ offered, init, chosen }) => {
      let connection: Connection | undefined
      const app = await start({
        hub: { protocols: ['chat', 'wamp'] },
        routes: {
          '/ws': async (exchange) => {
            connection = await exchange.upgrade(echo, init === undefined ? {} : { protocol: init })
          },
        },
      })
      const client = await RawClient.ask(app, '/ws', { headers: { 'Sec-WebSocket-Protocol': offered } })
      expect((await client.opened()).header('sec-websocket-protocol')).toBe(chosen)
      await client.echoes()
      expect(connection?.protocol).toBe(chosen ?? '')
    })

    it('opens once: a second upgrade of the request throws, and the connection stays open if that is caught', async () => {
      let second: unknown
      const app = await start({
        routes: {
          '/ws': async (exchange) => {
            await exchange.upgrade(echo)
            try {
              await exchange.upgrade(echo)
            } catch (error) {
              second = codeOf(error)
            }
          },
        },
      })
      const client = await RawClient.open(app)
      await client.echoes()
      expect(second).toBe('WSHUB_ERR_ALREADY_UPGRADED')
      await client.echoes()
      expect(app.hub.size).toBe(1)
    })

    it('needs no await: neither a refusal nor a throwing onOpen causes an unhandled rejection', async () => {
      const app = await start({
        routes: {
          '/ws': async (exchange) => {
            exchange.upgrade(echo)
          },
          '/fails': async (exchange) => {
            exchange.upgrade({ onOpen: () => Promise.reject(new Error('no')), onError: () => {} })
          },
        },
      })
      const refused = await RawClient.refused(app, '/ws', { headers: { 'Sec-WebSocket-Version': '8' } })
      expect(refused.status).toBe(426)
      const failed = await RawClient.open(app, '/fails')
      expect(await failed.closed()).toBe(1011)
      await (await RawClient.open(app)).echoes()
    })
  })
})
