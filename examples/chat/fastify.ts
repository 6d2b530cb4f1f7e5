import fastify from 'fastify'
import type { HubOptions } from 'wshub'
import { hubPlugin } from 'wshub/fastify'
import { type Address, runIfMain, running } from '../run.ts'
import { chat, page } from './chat.ts'
import { options } from './options.ts'

export async function start(address: Address, others: HubOptions = {}) {
  const app = fastify()
  await app.register(
    hubPlugin,
    options(() => app.hub, others),
  )

  app.get('/', (_request, reply) => reply.type('text/html; charset=utf-8').send(page))
  app.get('/chat', (_request, reply) => reply.upgradeWebSocket(chat))

  await app.listen(address)
  return running(app.server, app.hub, () => app.close())
}

await runIfMain(import.meta.url, 8080, start)
