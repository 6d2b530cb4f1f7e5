import { afterEach, describe, expect, it } from 'vitest'
import { destroyClients, Gate, handshake, inTime, RawClient, until } from '../support/raw.ts'
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
})
