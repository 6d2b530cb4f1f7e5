import express from 'express'
import session from 'express-session'
import { wsHub } from 'wshub/express'
import { type Address, runIfMain, running } from '../run.ts'
import { authenticate, cookie, disconnect, greeter, page, secret } from './login.ts'

declare module 'express-session' {
  interface SessionData {
    user?: string
  }
}

export async function start(address: Address) {
  const app = express()
  const sockets = wsHub()
  app.use(express.json())
  app.use(session({ secret, resave: false, saveUninitialized: false, cookie: { ...cookie, secure: 'auto' } }))
  app.use(sockets)

  app.get('/', (_req, res) => res.type('html').send(page))

  app.post('/login', (req, res, next) => {
    const user = authenticate(req.body)
    if (user === null) return res.sendStatus(401)
    return req.session.regenerate((error) => {
      if (error) return next(error)
      req.session.user = user
      return res.sendStatus(204)
    })
  })

  app.get('/ws', (req, res) => {
    const { user } = req.session
    if (user === undefined) return res.sendStatus(401)
    return res.upgradeWebSocket(greeter, { metadata: { user } })
  })

  app.post('/logout', (req, res, next) => {
    const { user } = req.session
    req.session.destroy((error) => {
      if (error) return next(error)
      if (user !== undefined) disconnect(req.hub, user)
      return res.sendStatus(204)
    })
  })

  const server = app.listen(address)
  return running(server, sockets.hub)
}

await runIfMain(import.meta.url, 8080, start)
