import type { Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { destroyClients, Gate, handshake, inTime, RawClient, request, until } from '../support/raw.ts'
import { closeApps, type Exchange, echoRoute, frameworks } from './frameworks.ts'
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

describe.each(frameworks)('Handshake with $name', ({ start }) => {
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
