import Router from '@koa/router'
import Koa from 'koa'
import type { Hub, HubOptions } from 'wshub'
import { wsHub } from 'wshub/koa'
import { type Address, runIfMain, running } from '../run.ts'
import { chat, page } from './chat.ts'
import { options } from './options.ts'

export async function start(address: Address, others: HubOptions = {}) {
  const app = new Koa()
  const sockets = wsHub(options((): Hub => sockets.hub, others))
  app.use(sockets)

  const router = new Router()
  router.get('/', (ctx) => {
    ctx.body = page
  })
  router.get('/chat', (ctx) => ctx.upgradeWebSocket(chat))
  app.use(router.routes())

  const server = app.listen(address)
  return running(server, sockets.hub)
}

await runIfMain(import.meta.url, 8080, start)
