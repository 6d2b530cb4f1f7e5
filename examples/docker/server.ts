/**
 * The chat as a process of a cluster: over the Redis of REDIS_URL, with metrics, a readiness probe and an
 * inspector on a port of their own, which the public does not reach.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import fastify from 'fastify'
import { register } from 'prom-client'
import { hubPlugin } from 'wshub/fastify'
import { inspector } from 'wshub/inspector'
import { logTo } from 'wshub/log'
import { hubMetrics } from 'wshub/prometheus'
import { redisBackplane } from 'wshub/redis'
import { chat, page } from '../chat/chat.ts'
import { options } from '../chat/options.ts'

const { PORT = 8080, OPERATOR_PORT = 9100, HOST = '0.0.0.0', REDIS_URL } = process.env
if (REDIS_URL === undefined) throw new Error('REDIS_URL is the address of a Redis: redis://redis:6379')

const app = fastify({ logger: true })
const others = { backplane: redisBackplane({ url: REDIS_URL }) }
await app.register(hubPlugin, { ...options(() => app.hub, others), close: { timeoutMs: 20_000 } })
app.get('/', (_request, reply) => reply.type('text/html; charset=utf-8').send(page))
app.get('/chat', (_request, reply) => reply.upgradeWebSocket(chat))

hubMetrics(app.hub)
logTo(app.log, app.hub)

// Whoever reaches the port may look, but no page whose name was made to point here.
const inspect = inspector(app.hub, {
  authorize: ({ headers }) => /^(localhost|127\.0\.0\.1)(:\d+)?$/.test(headers.host ?? ''),
})

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname } = new URL(request.url ?? '/', 'http://localhost')
  if (pathname === '/metrics') {
    response.setHeader('Content-Type', register.contentType).end(await register.metrics())
  } else if (pathname === '/ready') {
    // Not while Redis is away: then all instances would leave the load balancer at once.
    const isReady = app.hub.state === 'open' && app.server.listening
    response.writeHead(isReady ? 200 : 503).end(`${app.hub.state}, cluster ${app.hub.cluster.state}\n`)
  } else if (pathname === '/hub') {
    await inspect(request, response)
  } else {
    response.writeHead(404).end()
  }
}

const operators = createServer((request, response) => {
  answer(request, response).catch((error) => {
    app.log.error(error)
    response.destroy()
  })
})
app.hub.attach(operators)
operators.listen(Number(OPERATOR_PORT), HOST)

await app.hub.cluster.ready() // an instance that has not reached the cluster takes no clients
await app.listen({ port: Number(PORT), host: HOST })
process.once('SIGTERM', async () => {
  await app.close()
  operators.close()
})
