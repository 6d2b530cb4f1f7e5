import fastify, { type FastifyInstance } from 'fastify'
import fastifyPlugin from 'fastify-plugin'
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { Hub } from 'wshub'
import { type HubPluginOptions, hubPlugin } from 'wshub/fastify'
import { connect } from 'wshub/testing'
import { destroyClients, Gate, inTime, RawClient } from '../support/raw.ts'
import { closeAfterTest, closeApps, echo, makeFastify, portOf } from './frameworks.ts'

afterEach(async () => {
  destroyClients()
  await closeApps()
})

const turn = () => new Promise((resolve) => setImmediate(resolve))

/** An application whose hooks send a message before the hub closes. */
async function build(
  options: HubPluginOptions = {},
  app: FastifyInstance = fastify(),
): Promise<FastifyInstance> {
  const say = (text: string) => async () => {
    await turn()
    app.hub.broadcast(text)
    await turn()
  }
  app.addHook('preClose', say('before the plugin'))
  await app.register(hubPlugin, options)
  app.addHook('preClose', say('behind the plugin'))
  app.addHook('preClose', (done) => {
    app.hub.broadcast('with a callback')
    done()
  })
  app.register(fastifyPlugin(async (same) => void same.addHook('preClose', say('of a plugin of the scope'))))
  app.get('/ws', (_request, reply) => reply.upgradeWebSocket(echo))
  return app
}

const said = ['before the plugin', 'behind the plugin', 'with a callback', 'of a plugin of the scope']

describe('The hub of a Fastify application that closes', () => {
  it('closes after the preClose hooks of its scope, wherever they were added', async () => {
    const app = await build({}, makeFastify())
    await app.listen({ port: 0, host: '127.0.0.1' })
    closeAfterTest(app.hub, app.server, () => app.close())
    const client = await RawClient.open({ port: portOf(app.server) })
    const closed = app.close()
    for (const text of said) expect(await client.message()).toBe(text)
    expect(await client.closed()).toBe(1001)
    await inTime('the application to close', closed)
    expect(app.hub.state).toBe('closed')
  })

  it('closes after these hooks if the application does not listen', async () => {
    const app = await build()
    const client = await connect(app, '/ws')
    const closed = app.close()
    for (const text of said) expect((await client.next()).data).toBe(text)
    expect(await client.closed).toEqual({ code: 1001, reason: '' })
    await inTime('the application to close', closed)
  })

  it('closes as set by the option close', async () => {
    const app = await build({ close: { code: 1012, reason: 'update' }, maxConnections: 5 })
    const client = await connect(app, '/ws')
    const closed = app.close()
    expect(await client.closed).toEqual({ code: 1012, reason: 'update' })
    await inTime('the application to close', closed)
  })

  it('has closed before app.close() resolves, also if Fastify does not wait for its hook', async () => {
    const app = fastify({ pluginTimeout: 1_000 })
    const left = new Gate()
    const log: string[] = []
    await app.register(hubPlugin)
    app.addHook('onClose', async () => {
      log.push('the application closes')
      left.open()
    })
    app.get('/ws', (_request, reply) =>
      reply.upgradeWebSocket({
        onClose: async () => {
          await left.passed('the onClose hook')
          log.push('onClose has settled')
        },
      }),
    )
    await connect(app, '/ws')
    await inTime('the application to close', app.close())
    expect(log).toEqual(['the application closes', 'onClose has settled'])
    expect(app.hub.state).toBe('closed')
  })

  it('has closed before the onClose hooks of the application begin', async () => {
    const app = fastify()
    const log: string[] = []
    await app.register(hubPlugin)
    app.addHook('onClose', async () => void log.push('the application closes'))
    app.get('/ws', (_request, reply) =>
      reply.upgradeWebSocket({
        onClose: async () => {
          for (let turns = 0; turns < 20; turns++) await turn()
          log.push('onClose has settled')
        },
      }),
    )
    await connect(app, '/ws')
    await inTime('the application to close', app.close())
    expect(log).toEqual(['onClose has settled', 'the application closes'])
  })

  it.each<{ close: object; code: string }>([
    { close: { batch: 0 }, code: 'WSHUB_ERR_INVALID_OPTION' },
    { close: { timeoutMs: -1 }, code: 'WSHUB_ERR_INVALID_OPTION' },
    { close: { code: 1005 }, code: 'WSHUB_ERR_INVALID_CLOSE' },
  ])('refuses $close when the application registers it', async ({ close, code }) => {
    const app = fastify()
    await expect(app.register(hubPlugin, { close })).rejects.toMatchObject({ code })
    await app.close()
  })

  it('checks the option close without creating a hub', async () => {
    const app = fastify()
    const close = vi.spyOn(Hub.prototype, 'close')
    onTestFinished(() => close.mockRestore())
    await app.register(hubPlugin, { close: { timeoutMs: 100 } })
    expect(close).not.toHaveBeenCalled()
    await app.close()
    expect(new Set(close.mock.contexts)).toEqual(new Set([app.hub]))
  })

  it.each<{ options: object; name: string }>([
    { options: { close: {} }, name: 'close' },
    { options: { maxConnections: 5 }, name: 'maxConnections' },
  ])(
    'takes neither the option close nor options of a new hub beside a shared hub: $name',
    async ({ options, name }) => {
      const hub = new Hub()
      const app = fastify()
      const rejected = app.register(hubPlugin, { hub, ...options } as HubPluginOptions) // the type does not allow it
      await expect(rejected).rejects.toMatchObject({
        code: 'WSHUB_ERR_INVALID_OPTION',
        message: expect.stringContaining(name),
      })
      await app.close()
      expect(hub.state).toBe('open')
      await hub.close()
    },
  )
})
