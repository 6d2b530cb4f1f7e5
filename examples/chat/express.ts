import express from 'express'
import type { Hub, HubOptions } from 'wshub'
import { wsHub } from 'wshub/express'
import { type Address, runIfMain, running } from '../run.ts'
import { chat, page } from './chat.ts'
import { options } from './options.ts'

export async function start(address: Address, others: HubOptions = {}) {
  const app = express()
  const sockets = wsHub(options((): Hub => sockets.hub, others))
  app.use(sockets)

  app.get('/', (_req, res) => res.type('html').send(page))
  app.get('/chat', (_req, res) => res.upgradeWebSocket(chat))

  const server = app.listen(address)
  return running(server, sockets.hub)
}

await runIfMain(import.meta.url, 8080, start)
