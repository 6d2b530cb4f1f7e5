// Run by Bun with the built package: a hub behind Express, or behind node:http alone. Prints its URL.
import { createServer } from 'node:http'
import express from 'express'
import { Hub, HubError } from 'wshub'
import { wsHub } from 'wshub/express'

const [, , kind, attached] = process.argv
const options = { maxMessageSize: 2 ** 24 }
/** Reports as an answer what would otherwise be a page, and nothing in the log. */
const codeOf = (error) => (error instanceof HubError ? error.code : String(error))

const handlerOf = (hub) => ({
  onMessage(connection, { type, data }) {
    if (data === 'to all') hub.broadcast('to all')
    else if (type === 'text') connection.sendText(data)
    else connection.sendBinary(data)
  },
})

function behindExpress() {
  const app = express()
  const middleware = wsHub(options)
  const handler = handlerOf(middleware.hub)
  app.use(middleware)
  app.get('/ws', (_req, res) => res.upgradeWebSocket(handler))
  app.get('/', (_req, res) => res.send('hello'))
  app.use((error, _req, res, _next) => res.status(error.status ?? 500).end(codeOf(error)))
  return { server: createServer(app), hub: middleware.hub }
}

function behindHttp() {
  const hub = new Hub(options)
  const handler = handlerOf(hub)
  const server = createServer((req, res) => {
    if (req.url !== '/ws') return res.end('hello')
    try {
      void hub.upgrade(req, handler)
    } catch (error) {
      res.writeHead(error.status, error.headers).end(codeOf(error))
    }
  })
  return { server, hub }
}

const { server, hub } = kind === 'express' ? behindExpress() : behindHttp()
if (attached === 'attached') hub.attach(server)
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`))
process.on('SIGTERM', async () => {
  await hub.close()
  process.exit(7)
})
