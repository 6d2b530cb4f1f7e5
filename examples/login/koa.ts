import { json } from 'node:stream/consumers'
import Router from '@koa/router'
import Koa from 'koa'
import session from 'koa-session'
import { wsHub } from 'wshub/koa'
import { type Address, runIfMain, running } from '../run.ts'
import { authenticate, cookie, disconnect, greeter, page, secret } from './login.ts'

declare module 'koa' {
  interface ExtendableContext {
    session: { user?: string; regenerate(): Promise<void> } | null
  }
}

/** Keeps the sessions in memory and only their ids in the cookies, so that a logout ends them. */
function memoryStore() {
  const sessions = new Map<string, unknown>()
  return {
    get: async (id: string) => sessions.get(id),
    set: async (id: string, value: unknown) => void sessions.set(id, value),
    destroy: async (id: string) => void sessions.delete(id),
  }
}

export async function start(address: Address) {
  const app = new Koa()
  const sockets = wsHub()
  app.keys = [secret]
  app.use(session({ ...cookie, store: memoryStore() }, app))
  app.use(sockets)

  const router = new Router()
  router.get('/', (ctx) => {
    ctx.body = page
  })

  router.post('/login', async (ctx) => {
    if (!(ctx.request.length < 1_000)) return ctx.throw(413) // a body without a length is refused as well
    const user = authenticate(await json(ctx.req).catch(() => ctx.throw(400)))
    if (user === null || ctx.session === null) return ctx.throw(401)
    await ctx.session.regenerate()
    ctx.session.user = user
    ctx.status = 204
  })

  router.get('/ws', (ctx) => {
    const user = ctx.session?.user
    if (user === undefined) return ctx.throw(401)
    return ctx.upgradeWebSocket(greeter, { metadata: { user } })
  })

  router.post('/logout', (ctx) => {
    const user = ctx.session?.user
    ctx.session = null
    if (user !== undefined) disconnect(ctx.hub, user)
    ctx.status = 204
  })
  app.use(router.routes())

  const server = app.listen(address)
  return running(server, sockets.hub)
}

await runIfMain(import.meta.url, 8080, start)
