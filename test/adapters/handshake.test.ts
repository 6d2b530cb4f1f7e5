import type { Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import type { Connection, EventHandler } from 'wshub'
import {
  closing,
  destroyClients,
  Gate,
  handshake,
  inTime,
  RawClient,
  request,
  text,
  until,
} from '../support/raw.ts'
import { closeApps, type Exchange, echo, echoRoute, frameworks } from './frameworks.ts'
import { failOnStrayErrors } from './stray-errors.ts'

failOnStrayErrors('warning')

afterEach(async () => {
  destroyClients()
  await closeApps()
})

/** Resolves when the server has noticed that the client has disconnected. */
const gone = ({ req: { socket } }: Exchange): Promise<void> => {
  const closed = new Promise<void>((resolve) => {
    if (socket.destroyed) resolve()
    else socket.once('close', () => resolve())
  })
  return inTime('the socket to close', closed)
}

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

  describe('reset by the client', () => {
    it('leaves no connection when it is reset right after the request', async () => {
      const closes: number[] = []
      const app = await start({
        routes: {
          '/ws': (exchange) =>
            exchange.upgrade({ onClose: (_conn, code) => void closes.push(code), ...echo }),
        },
      })
      for (let i = 0; i < 20; i++) {
        const client = await RawClient.connect(app)
        const written = client.write(handshake())
        if (i % 2 === 0) await written
        client.reset()
      }
      const survivor = await RawClient.open(app)
      await survivor.echoes()
      await until('one connection', () => app.hub.size === 1)
      expect(closes.every((code) => code === 1006)).toBe(true)
    })

    it('leaves the server running when it is reset in the middle of the request', async () => {
      const app = await start({ routes: { '/ws': echoRoute } })
      const client = await RawClient.connect(app)
      await client.write(handshake().subarray(0, 60))
      client.reset()
      await (await RawClient.open(app)).echoes()
    })

    it('throws WSHUB_ERR_SOCKET_CLOSED when it is reset during an async hook', async () => {
      const arrived = new Gate()
      const refused = new Gate()
      const errors: unknown[] = []
      const app = await start({
        routes: { '/ws': echoRoute },
        before: async (exchange) => {
          if (exchange.req.headers['x-wait'] === undefined) return false
          arrived.open()
          await gone(exchange)
          return false
        },
        onError: (error, exchange) => {
          errors.push(codeOf(error))
          exchange.send(418, 'nobody reads this')
          refused.open()
        },
      })
      const client = await RawClient.ask(app, '/ws', { headers: { 'X-Wait': '1' } })
      await arrived.passed('the hook')
      client.reset()
      if (name === 'Fastify') {
        // Fastify runs no hook and no route for a client that has disconnected; the marker below shows that
        // it still serves.
        await (await RawClient.open(app)).echoes()
      } else {
        await refused.passed('the refusal')
        expect(errors).toEqual(['WSHUB_ERR_SOCKET_CLOSED'])
        await (await RawClient.open(app)).echoes()
      }
      expect(app.hub.size).toBe(1)
    })

    it('throws WSHUB_ERR_SOCKET_CLOSED when it is reset in the route before the upgrade', async () => {
      const arrived = new Gate()
      const refused = new Gate()
      const errors: unknown[] = []
      const app = await start({
        routes: {
          '/echo': echoRoute,
          '/ws': async (exchange) => {
            arrived.open()
            await gone(exchange)
            try {
              await exchange.upgrade(echo)
            } catch (error) {
              errors.push(codeOf(error))
              refused.open()
              throw error
            }
          },
        },
      })
      const client = await RawClient.ask(app)
      await arrived.passed('the route')
      client.reset()
      await refused.passed('the refusal')
      expect(errors).toEqual(['WSHUB_ERR_SOCKET_CLOSED'])
      await (await RawClient.open(app, '/echo')).echoes()
      expect(app.hub.size).toBe(1)
    })

    it.each(['reset', 'half-closed'] as const)(
      'calls onClose once, after an async onOpen, when it is reset during that: %s',
      async (how) => {
        const log: string[] = []
        const opening = new Gate()
        const closed = new Gate()
        const app = await start({
          routes: {
            '/echo': echoRoute,
            '/ws': async (exchange) => {
              const connection = await exchange.upgrade({
                onOpen: async () => {
                  log.push('open')
                  opening.open()
                  await gone(exchange)
                  log.push('opened')
                },
                onClose: (_conn, code) => {
                  log.push(`close ${code}`)
                  closed.open()
                },
                onError: (_conn, error) => void log.push(`error ${codeOf(error)}`),
                onMessage: () => void log.push('message'),
              })
              log.push(`after await ${connection.sendText('too late')}`)
            },
          },
        })
        const client = await RawClient.ask(app)
        await opening.passed('onOpen')
        if (how === 'reset') client.reset()
        else client.destroy()
        await closed.passed('onClose')
        await (await RawClient.open(app, '/echo')).echoes()
        expect(log.filter((entry) => !entry.startsWith('error'))).toEqual(
          expect.arrayContaining(['open', 'opened', 'after await false', 'close 1006']),
        )
        expect(log.filter((entry) => entry.startsWith('close'))).toHaveLength(1)
        expect(log.indexOf('opened')).toBeLessThan(log.indexOf('close 1006'))
        expect(app.hub.size).toBe(1)
      },
    )

    it('ends with 1006 when it is reset while it is open, and disturbs nobody', async () => {
      const closes: number[] = []
      const closed = new Gate()
      const app = await start({
        routes: {
          '/ws': (exchange) =>
            exchange.upgrade({
              ...echo,
              onClose: (_conn, code) => {
                closes.push(code)
                closed.open()
              },
            }),
        },
      })
      const other = await RawClient.open(app)
      const client = await RawClient.open(app)
      await client.echoes()
      client.reset()
      await closed.passed('onClose')
      expect(closes).toEqual([1006])
      await other.echoes()
      expect(app.hub.size).toBe(1)
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
      expect(answer.headers.get('x-list')).toEqual(['1', '2'])
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

  describe('for another protocol', () => {
    // Since Node 25 the body of such a request is parsed separately from the upgrade, and the connection
    // serves one request.
    const isBodyApart = Number(process.versions.node.split('.')[0]) >= 25
    const h2c = {
      Connection: 'Upgrade, HTTP2-Settings',
      Upgrade: 'h2c',
      'HTTP2-Settings': 'AAMAAABkAAQAoAAAAAIAAAAA',
    }

    it.each(['listen', 'https'] as const)(
      'is an ordinary request, body and all, and the connection is kept alive: %s',
      async (server) => {
        const app = await start({
          server,
          routes: {
            '/ws': echoRoute,
            '/body': async (exchange) => {
              const body = await exchange.body()
              exchange.send(200, `${exchange.req.method} ${body} ${exchange.req.headers.upgrade}`)
            },
            '/': (exchange) => exchange.send(200, 'page'),
          },
        })
        const client = await RawClient.connect(app)
        const post = (body: string) =>
          request('/body', {
            method: 'POST',
            headers: { ...h2c, 'Content-Type': 'text/plain', 'Content-Length': String(body.length) },
            body,
          })
        if (isBodyApart) {
          for (const body of ['hello', 'later']) {
            const once = await RawClient.connect(app)
            await once.write(post(body).subarray(0, -3))
            await once.write(post(body).subarray(-3))
            expect((await once.lastAnswer()).body).toBe(`POST ${body} h2c`)
          }
          return
        }
        client.write(post('hello'))
        const answer = await client.answer()
        expect([answer.status, answer.body]).toEqual([200, 'POST hello undefined'])
        expect(answer.header('connection')?.toLowerCase()).not.toBe('close')

        // The body arrives in pieces, after the head.
        const late = post('later')
        await client.write(late.subarray(0, -3))
        await client.write(late.subarray(-3))
        expect((await client.answer()).body).toBe('POST later undefined')

        // A client can do it repeatedly, and no listener is left behind.
        for (let i = 0; i < 15; i++) {
          client.write(request('/', { headers: h2c }))
          expect((await client.answer()).body).toBe('page')
        }
        client.write(request('/'))
        expect((await client.answer()).body).toBe('page')
        client.write(handshake())
        await client.opened()
        await client.echoes()
      },
    )

    it('keeps the other options of Connection', async () => {
      const app = await start({ routes: { '/': (exchange) => exchange.send(200, 'page') } })
      const client = await RawClient.connect(app)
      client.write(request('/', { headers: { ...h2c, Connection: 'Upgrade, close, HTTP2-Settings' } }))
      const answer = await client.lastAnswer()
      expect([answer.status, answer.body]).toEqual([200, 'page'])
    })

    it('leaves the server running when the client resets it', async () => {
      const sockets: Socket[] = []
      const arrived = new Gate()
      const app = await start({
        routes: {
          '/ws': echoRoute,
          '/': async (exchange) => {
            sockets.push(exchange.req.socket)
            arrived.open()
            await gone(exchange)
            exchange.send(200, 'page')
          },
        },
      })
      const client = await RawClient.connect(app)
      client.write(request('/', { headers: h2c }))
      await arrived.passed('the route')
      client.reset()
      await (await RawClient.open(app)).echoes()
      await until('the socket to be destroyed', () => sockets.every((socket) => socket.destroyed))
    })
  })
})
