import { Writable } from 'node:stream'
import fastify, { type FastifyReply } from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import { hubPlugin } from 'wshub/fastify'
import { destroyClients, RawClient, until } from '../support/raw.ts'
import { closeAfterTest, closeApps, echo, portOf } from './frameworks.ts'
import { failOnStrayErrors } from './stray-errors.ts'

failOnStrayErrors()

afterEach(async () => {
  destroyClients()
  await closeApps()
})

const NAMES = [
  'onRequest',
  'preParsing',
  'preValidation',
  'preHandler',
  'preSerialization',
  'onSend',
  'onResponse',
  'onError',
] as const

/** An application whose hooks record that they ran, and the status at that time. */
async function start() {
  const ran: string[] = []
  const app = fastify()
  await app.register(hubPlugin)
  for (const name of NAMES) {
    // One call for hooks of eight types, none of which has to answer.
    app.addHook(name as 'onRequest', async (_request, reply) => {
      ran.push(name === 'onResponse' ? `${name} ${reply.statusCode}` : name)
      reply.header(`x-${name.toLowerCase()}`, 'yes')
    })
  }
  app.get('/ws', (_request, reply) => reply.upgradeWebSocket(echo))
  app.get('/throws', async (_request, reply) => {
    await reply.upgradeWebSocket({ onError: () => {} })
    throw new Error('behind the upgrade')
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  closeAfterTest(app.hub, app.server, () => app.close())
  return { ran, target: { port: portOf(app.server) } }
}

const before = ['onRequest', 'preParsing', 'preValidation', 'preHandler']
const isOver = (entry: string) => entry.startsWith('onResponse')

describe('The hooks of Fastify', () => {
  it('run before an upgrade and at its 101, and their headers are sent with it', async () => {
    const { ran, target } = await start()
    const client = await RawClient.ask(target)
    const answer = await client.opened()
    await client.echoes()
    await until('onResponse', () => ran.some(isOver))
    client.close()
    await client.ended()
    expect(ran).toEqual([...before, 'onResponse 101'])
    expect(answer.header('x-prehandler')).toBe('yes')
    expect(answer.header('x-onsend')).toBeUndefined()
  })

  it('send a cookie once that they set on the response of Node', async () => {
    const app = fastify()
    await app.register(hubPlugin)
    app.addHook('onRequest', async (_request, reply) => {
      reply.raw.setHeader('Set-Cookie', ['a=1', 'b=2'])
    })
    app.get('/ws', (_request, reply) => reply.upgradeWebSocket(echo))
    await app.listen({ port: 0, host: '127.0.0.1' })
    closeAfterTest(app.hub, app.server, () => app.close())
    const client = await RawClient.ask({ port: portOf(app.server) })
    expect((await client.opened()).headers.get('set-cookie')).toEqual(['a=1', 'b=2'])
  })

  it('all run for a refusal, except preSerialization', async () => {
    const { ran, target } = await start()
    const answer = await RawClient.refused(target, '/ws', { headers: { Origin: 'https://evil.example' } })
    await until('onResponse', () => ran.some(isOver))
    expect(ran).toEqual([...before, 'onError', 'onSend', 'onResponse 403'])
    expect(answer.header('x-onsend')).toBe('yes')
  })

  it('do not receive what a route throws after the upgrade', async () => {
    const { ran, target } = await start()
    const client = await RawClient.open(target, '/throws')
    expect(await client.closed()).toBe(1011)
    await until('onResponse', () => ran.some(isOver))
    expect(ran).toEqual([...before, 'onResponse 101'])
  })
})

describe('A route of Fastify that returns its reply', () => {
  it.each<{
    what: string
    hook?: () => Promise<void>
    route: (reply: FastifyReply) => unknown
    status: number
  }>([
    { what: 'after its answer', route: (reply) => reply.code(403).send('no'), status: 403 },
    {
      what: 'before its answer, which waits for a hook',
      hook: () => new Promise((resolve) => setImmediate(resolve)),
      route: (reply) => reply.code(403).send('no'),
      status: 403,
    },
    {
      what: 'after an upgrade',
      route: (reply) => {
        void reply.upgradeWebSocket(echo)
        return reply
      },
      status: 101,
    },
  ])('causes no error $what', async ({ hook, route, status }) => {
    let log = ''
    const stream = new Writable({
      write(chunk, _encoding, done) {
        log += chunk
        done()
      },
    })
    const app = fastify({ logger: { stream, level: 'warn' } })
    await app.register(hubPlugin)
    if (hook !== undefined) app.addHook('onSend', hook)
    let isOver = false
    app.addHook('onResponse', async () => {
      isOver = true
    })
    app.get('/ws', (_request, reply) => route(reply))
    await app.listen({ port: 0, host: '127.0.0.1' })
    closeAfterTest(app.hub, app.server, () => app.close())
    const client = await RawClient.ask({ port: portOf(app.server) })
    expect((await client.head()).status).toBe(status)
    await until('onResponse', () => isOver)
    expect(log).toBe('')
  })
})
