import fastifyCookie from '@fastify/cookie'
import fastifySession from '@fastify/session'
import fastify from 'fastify'
import { hubPlugin } from 'wshub/fastify'
import { type Address, runIfMain, running } from '../run.ts'
import { authenticate, cookie, disconnect, greeter, page, secret } from './login.ts'

declare module 'fastify' {
  interface Session {
    user?: string
  }
}

export async function start(address: Address) {
  const app = fastify()
  await app.register(fastifyCookie)
  await app.register(fastifySession, {
    secret,
    saveUninitialized: false,
    cookie: { ...cookie, secure: 'auto' },
  })
  await app.register(hubPlugin)

  app.get('/', (_request, reply) => reply.type('text/html; charset=utf-8').send(page))

  app.post('/login', async (request, reply) => {
    const user = authenticate(request.body)
    if (user === null) return reply.code(401).send()
    await request.session.regenerate()
    request.session.user = user
    return reply.code(204).send()
  })

  app.get('/ws', (request, reply) => {
    const { user } = request.session
    if (user === undefined) return reply.code(401).send()
    return reply.upgradeWebSocket(greeter, { metadata: { user } })
  })

  app.post('/logout', async (request, reply) => {
    const { user } = request.session
    await request.session.destroy()
    if (user !== undefined) disconnect(app.hub, user)
    return reply.code(204).send()
  })

  await app.listen(address)
  return running(app.server, app.hub, () => app.close())
}

await runIfMain(import.meta.url, 8080, start)
